"""A few sentences of our own, whose words the tests' tiny Llama knows."""

OWN_TEXTS = (
    "the train was late again and nobody told us why",
    "my sister sent me flowers and a long letter",
    "someone has been through the drawers of my desk",
    "we won the match in the very last minute",
    "i keep thinking of the old house by the river",
    "there is a noise behind the cellar door every night",
)
