r"""The words around answers, by language: what marks one, declines one, denies or expects one.

English, Spanish, Chinese, French, German and Portuguese, and a few words of others. All are
searched in folded text. A list of phrases is no grammar: the rules use them where an answer is, and
leave the rest invalid.
"""

import re

from llamafactory_emotion.text import WITHOUT_SPACES

_EDGE = r"(?<![^\W_])"
_END = r"(?![^\W_])"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


def _phrases(*spaced: str, without_spaces: str) -> re.Pattern[str]:
    """Compile phrases that begin a word, tried at the beginnings of words alone, and others."""
    return re.compile(rf"\b(?:{'|'.join(spaced)})|{without_spaces}")


# Words that are said without naming a label: as labels they count only where an answer is expected.
ORDINARY_WORDS = frozenset(
    " ".join((
        "a an the i am is are be was were it its he she we you they me my do does did has have had",
        "will would can could may might must this that these those there here what which who how",
        "why when where if so as by of to in on at for with from and or but no not yes one",
        "el la los las lo al del un una y o u e si sí es son en con por para que se su mi tu yo él",
        "le les une des du et ou à il elle je on ne pas non oui est",
        "der die das ein eine und oder ist es ich sie im zu nicht nein ja",
        "os um uma do da em ou é não na sim",
        "是 不 的 了 在 有 我 你 他 她 它 和 或 无 没 对 会 能 也 都 就",
    )).split()
)  # fmt: skip

# Keys of a JSON object or fragment, the parts of an answer tag, and the words of `Answer: joy`.
JSON_KEYS = (
    r"(?:(?:predicted|final|the|primary|main|dominant|overall)[ _]?)?(?:emotion[ _]?)?"
    r"(?:label|emotion|answer|sentiment|class|category|classification|prediction|intent|topic"
    r"|output|result|choice|rating|polarity|mood|feeling)"
)
_MARKER_WORDS = (
    "answer|emotion|label|sentiment|class|category|classification|intent|prediction|feeling|choice"
    "|topic|result|output|conclusion|verdict|rating|polarity|mood|response"
    "|respuesta|emoción|emocion|etiqueta|sentimiento|clase|categoría|categoria|clasificación"
    "|resultado|intención|resposta|emoção|sentimento|classe|réponse|émotion|catégorie|résultat"
    "|étiquette|antwort|kategorie|klasse|stimmung|ergebnis|gefühl"
)
_MARKER_WORDS_WITHOUT_SPACES = (
    "答案|情感|情绪|情緒|感情|标签|標籤|类别|類別|分类|分類|类型|回答|答え|正解|罪名|结果|結果|结论|評価|评价"
    "|判断|倾向|意图|主题"
)
# What is classified, and by whom it was written: what a sentence that judges it speaks of.
_TEXTS = (
    "text|message|review|sentence|tweet|comment|post|article|e-?mail|statement|passage|document|q"
    "|question|query|ticket|request|inquiry|premise|hypothesis|claim|example|input|title|context"
    "|texto|reseña|mensaje|comentario|frase|opini[oó]n|pregunta|texte|commentaire|avis|phrase"
    "|eingabe|nachricht|kommentar|rezension|satz|frage|mensagem|comentário|avaliação|pergunta"
    "|текст|отзыв|сообщение|комментарий|вопрос"
)
_TEXTS_WITHOUT_SPACES = "文本|评论|句子|输入|文字|短信|消息|文章|问题|レビュー|テキスト|コメント"
ABOUT = re.compile(
    rf"{_EDGE}(?:(?:{_TEXTS}|{_MARKER_WORDS})(?:e?s|n|s')?{_END}|(?:text|эмоци|текст)\w{{0,4}}"
    r"|(?:speaker|author|writ(?:er|ten)|reviewer|customer|user|tone|classif|categori|label|rate|score"
    r"|falls? (?:under|in)|is about|detected|present|suggest|contains|most likely"
    "|sound|seem|appear|call|looks? like|think|believe|guess|fit|lean|i'd|i would|belong|case"
    "|priority|autor|cliente|parece|creo|clas|auteur|semble|klingt|scheint|kunde|نص|النص))"
    rf"|{_TEXTS_WITHOUT_SPACES}|{_MARKER_WORDS_WITHOUT_SPACES}|作者|说话人|用户|感到|认为|这[句段条是]"
)
# What a marker does not ask for: `secondary_emotion: joy`, `not_label: joy`.
ANOTHER = re.compile(
    r"\b(?:second(?:ary)?|other|alternative|not|wrong|incorrect|least likely|opposite|previous"
    r"|former|excluded|rejected)[ _-]\Z"
)
# A value that says that its key is not the answer: `joy: no`, `"joy": false`.
UNTRUE = re.compile(
    r"""["'`*_)\]]{0,4}\s?[:=|]\s?["'`*_]{0,2}(?:false|no|none|absent|low|0(?:\.0+)?\s?%?)"""
    r"""["'`*_]{0,2}\s*(?:[,;}|\n]|\.?\s*\Z)"""
)
_CLOSING = r"""[\s"'`*_)\]]{0,6}"""
MARKER = _any(
    rf"(?:(?P<word>{_MARKER_WORDS})(?P<plural>e?s)?(?:\s?\([^()\n]{{1,16}}\))?|{_MARKER_WORDS_WITHOUT_SPACES})"
    rf"(?:{_CLOSING}[:=]|{_CLOSING}->|\s*(?:应该|应|應)?[是为為は]:?(?=[^\s]))",
    r"(?P<verb>(?:answer|label|emotion|sentiment|category|class|intent|topic|choice|respuesta"
    r"|emoción|etiqueta|categoría|réponse|émotion|antwort|stimmung|resposta|emoção|sentimento)"
    r"(?:\s+(?:here|(?:of|in|for) (?:the|this) \w{1,20}))?"
    r"\s+(?:is|would be|should be|es|est|ist|é)\b:?(?:\s+(?:la|le|el|die|der|das|a|o)\b)?)",
)
# Between a marker and the name, and between one name and another that is its alternative.
LEAD = re.compile(r"""[\s"'`*_:({\[>#$\\-]{0,8}""")
ALTERNATIVE = _any(
    rf"{_CLOSING}(?:,?\s*(?:and/or|and|or|&|\+|/|,|;|y/o|y|o|u|e|et|ou|und|oder)(?![^\W\d_])"
    r"|[/,;&+|、]|和|或|与|还是|還是|以及|跟|\n)"
    r"""[\s"'`*_(\[-]{0,6}(?:(?:also|maybe|perhaps|possibly|even|then|class|label|option)\s+)?""",
)
SIDE_BY_SIDE = re.compile(r"\s*\((?=[^()\s]{1,40}\))|\s+(?=\S)")
CLAUSE_END = _any(
    r"""[\s"'`*_)\]}]{0,6}(?:[.,;:=!?。，、；：！？(（\[|–—\n→]|\s-{1,2}\s|--|\Z)""",
    r"\s*(?:because|since|as|due to|given|for the|porque|ya que|debido|parce que|weil|da|denn)\b",
    "因为|因為|由于|选?项",
)
# A number that rates: `4 stars`, `4 out of 5`; and what is none, the scale or what it is out of.
UNIT = re.compile(
    r"\s*(?:-star (?:review|rating)|stars?|points?|estrellas?|puntos?|étoiles?|sterne?|★|⭐|星|分)"
)
OF_ALL = re.compile(r"\s?(?:/|out of|von|sur|de)\s?(\d{1,3})(?:\.0)?(?![\d.%])")
SURENESS = re.compile("confiden|certainty|probability|confianza|置信|把握")
SCALE = re.compile(
    r"\b(?:than|at least|at most|over|under|al menos|más de|menos de|mindestens|mehr als|plus de"
    r"|au moins|至少|超过|不到)\s?\Z|"
    r"(?:\d\s?(?:/|out of|von|sur|de|to|-)|(?:scale|range) (?:of|from)|from|between)\s?\Z"
    r"|\b(?:from|of) \d{1,3} to\s?\Z"
)
LETTER_LEAD = re.compile(r"\b(?:in|with|option|letter|answer|choice)\s*\Z")
CLAUSE_SIGNS = "|.,;:!?()[]—–-\n。，；：！？、（）→"
CLAUSE_BREAK = _any(r"[.;:!?,。，；：\n—–→]", r"\b(?:but|sino|sondern|mais)\b", "而是", " - ")

# Where an answer is expected inside a statement: right behind one of these.
COPULA = _phrases(
    r"(?:is|are|was|be|as|está|pick|picked|choose|chose|select|say|option|choice|class"
    r"|es|son|trata de|handelt sich um|s'agit de|elijo|dir[ií]a|dirais|est|suis|choisis|ist|é"
    r"|wähle)\s+",
    without_spaces=r"(?<=\w)'s\s+|选择|[是为為选選]|属于|屬於|构成了?|犯了?|→|->",
)
# Behind these too, but a denial further off reaches it: `does not seem to express joy`.
EXPRESSING = _phrases(
    r"(?:express(?:es|ing)?|conveys?|reflects?|indicates?|expresa|transmite|refleja|exprime"
    r"|traduit|drückt)\s+(?:(?:a|an|the|un|una) )?(?:(?:sense|feeling|sentimiento) (?:of|de) )?",
    without_spaces="表达了?|体现了?",
)
ARTICLE = re.compile(
    r"\s*(?:(?:an?|the|una?|el|(?:de )?la|los|las|une|du|le|les|eine?|der|die|das|um|uma|o)\s+"
    r"|de l'|一[条个種种句段篇])"
)
CONTRAST = _phrases(
    r"(?:(?<!anything )(?<!all )but|rather|instead|(?<!not )(?:only|just)|sino|pero|mais"
    r"|sondern|mas)\s+",
    without_spaces="而是|只有|却是|但是",
)

NEGATION = _phrases(
    "(?:not|no|never|neither|nor|without|cannot|non|isnt|arent|wasnt|dont|doesnt|didnt|cant|wont"
    "|aint|lacks|absence of|lack of|loss of|opposite of|far from|hardly|barely|anything but|all but"
    "|other than|rather than|instead of|such as|nothing|partly|partially|almost(?! certainly)"
    "|except|nada|poco|carece|ni|sin|nunca|jamás|tampoco|ningún|ninguna|e[nm] (?:vez|lugar) de|ne"
    "|pas|sans|jamais|aucune?|plutôt que|nicht|kein|keine|nie|ohne|(?:an)?statt|não|nem|sem"
    "|не|нет|ни|ليست?|لا)" + _END,
    without_spaces=rf"n't{_END}|不是|没有|沒有|而非|并非|並非|不属于|不屬於|不算|不太?像|除了|缺乏|并不|不|没|沒|无|無|非|未",
)
NO_DENIAL = _any(
    "not (?:only|just|merely|simply)|nothing but|no doubt|sin (?:duda|embargo)|no obstante",
    "不只|不仅|非常|不过|不禁|不错|无疑|无比|未来|没有疑问|毫无疑问",
)
# Behind a name, in its clause: what is said of it is that it is not the answer.
DENIED_AFTER = _any(
    r"""[\s"'`*_)\]]{0,4}\s*(?:(?:is|was|would be|can be|does|do|could|should|seems)"""
    r"(?:n't|\s+(?:not|absent|missing|wrong|incorrect|ruled out|excluded|unlikely))"
    r"|means?|refers? to|(?:only )?(?:if|unless) (?!i |we )\w+"
    r"|isnt|can't|cannot|no (?:es|está)|n'est pas|ist nicht|não é)" + _END,
    "(?:では|じゃ)(?:ない|ありません)",
    "[\"'”」]{0,2}(?:并?不是(?=[主答正最这。，]|\\Z)|不对|不成立)",
)
# What a name is a part of when it follows: a condition, and what is left open.
HYPOTHETICAL = re.compile(
    rf"(?:{_EDGE}(?:if|whether|unless|as though|wenn|ob)\s[^.;:!?,\n]{{0,50}}"
    r"|(?:如果|是否|假如|难说)[^。；：！？\n]{0,40}"
    # A condition that opens its sentence reaches over its comma.
    r"|(?:\A|(?<=[.!?;\n]))\s*(?:to be |(?:if(?! (?:i|we|you|one|forced|pressed|asked) )|unless"
    r"|si(?! tuviera)|falls(?! (?:under|in|into|within)\b)|wenn(?! ich)"
    r"|se(?= (?:fo|o |a |el|não))) [^.;!?\n]{2,100}))\Z"
)
# Behind a name: that it is the right one, or that another is denied instead of it.
CHOSEN = re.compile(
    r"""["'`*_)\]]{0,4}(?:(?P<right> (?:is|es|est|ist|é) (?:(?:the|la|le|die|a) )?"""
    r"(?:correct|right|best|answer|label|correcta|bonne|richtig|certa))"
    r"|\s*[,，]?\s*(?:(?:(?:and|but|y|et|und|mais|а|e)\s+)?(?:not|rather than|instead of|without"
    r"|no|sin|pas|plutôt que|sans|nicht|keine?|statt|ohne|não|sem|не)\b|而?不是|而非|没有))"
)
QUESTION = re.compile(r"[^.!?;\n。！；]{0,100}(?:[?？]|[吗嗎])")
ASKED = re.compile(r"""[\s"'`*)]{0,4}\?(?=\W*\w)""")
# An answer that takes back what it has said: `joy... wait, I mean sadness`.
CORRECTION = _any(
    # As a clause of its own: no `long wait`, no `can't wait`.
    r"[.!?,;:(…—–\n-]\s*(?:(?:oh|no|but|hmm|actually),?\s)?"
    r"(?:wait(?!\s(?:for|to|until|and|times?)\b)|i mean|correction|or rather|scratch that"
    rf"|on second thought|mejor dicho){_END}",
    "不对，|等等，|更正",
)
# The next example that a base model writes itself, or the options that it repeats.
NEXT_EXAMPLE = re.compile(
    rf"\n[^\S\n]*(?:#{{1,4}}\s*)?(?:\*\*)?(?:{_TEXTS}|{_TEXTS_WITHOUT_SPACES})(?:\s*\d{{1,4}})?"
    r"(?:\*\*)?\s*:"
)
OPTIONS = re.compile(
    r"\s*(?:(?:the\s+)?(?:possible\s+)?(?:options?|labels|choices|categories|classes|emotions)"
    r"(?:\s+are)?\b[^.\n]*[.\n]|[^.!?？\n]*[?？]"
    r"|\w{0,20}\s*\([^()\n]*\)\s*:|[\w /|-]*/[\w /|-]*:)"
)
DOUBT = _any(
    r"(?:n't|not|no|ne|nicht|não|不)[^.;\n]{0,16}(?:think|believe|say|feel|see|creo|pienso|crois"
    r"|pense|glaube|denke|acho|认为|觉得)|\b(?:may|might|could) also\b"
)
FIRST_PERSON = _phrases(
    "(?:i|i'm|i've|i'd|i'll|my|me|we|our|us|yo|mi|mis|nosotros|je|j'ai|mon|ma|mes|nous|ich|mein"
    "|meine|wir|eu|meu|minha|nós)" + _END,
    without_spaces="我",
)
# `I love it`, `my fear`, `I am so happy`: the name is said of a person and is no answer.
SAID_OF_SOMEBODY = re.compile(
    rf"(?:{_EDGE}(?:i|we|you|they|he|she|i'm|we're|they're|i've|my|our|your|yo|mi|mis|je|mon|ma"
    r"|mes|ich|mein|meine|eu|meu|minha)"
    r"(?:\s+(?:am|are|was|were|do|did|just|really|so|very|all|always|have))*\s+|我)\Z"
)
# A text in quotes is not what the answer says.
QUOTED = re.compile(r'"([^"\n]{1,300})"')
# An answer that begins with another word than a label, as a sentence of its own.
_OTHER = rf"""[\s"'*_]*([^\W\d_{WITHOUT_SPACES}]{{4,20}})["'*_]*\s*"""
OTHER_WORD = re.compile(
    rf"(?:{_MARKER_WORDS})[\s*_]{{0,4}}:{_OTHER}[,.(;\n]|{_OTHER}(?:\.(?!\w)|\()"
)
INTERJECTIONS = frozenset(("okay", "sure", "well", "right", "hello", "thanks", "option", "class"))

OFFER = _phrases(
    r"(?:i'd|i would|i'll) (?:be )?(?:so |very |more than )?"
    r"(?:love|glad|happy|pleased|delighted) to\b",
    r"(?:i will|i am|i'm|we'd|would be|i can)\s+(?:be\s+)?(?:so\s+|very\s+|more than\s+)?"
    r"(?:love|glad|happy|pleased|delighted|able|try|here)\s+to\s+(?:help|assist|classify|analy[sz]e"
    "|do|answer|take|read|provide|support|look|tell|identify)",
    r"(?:happy|glad) to (?:help|assist)|(?:how can|let me know|feel free)\b",
    r"(?:please|could you|can you|you could)\s+(?:please\s+)?"
    "(?:paste|provide|share|send|give|post|tell me|clarify|include|enter)",
    r"(?:joy|pleasure|delight|happy|glad|love|here) to (?:help|assist|hear|meet|serve)\b",
    r"love for you to\b|(?:ayudar|saludar)(?:te|l[aeo]s?)\b|(?:vous |t')aider\b|ajudar você",
    r"(?:ihnen|dir|euch) (?:gerne? )?(?:zu )?helfen\b|helfe ich\b",
    r"me (?:encantaría|gustaría|alegraría|encanta)\b|con (?:mucho )?gusto\b",
    r"encantad[oa] de\b|por favor,? (?:envía|proporciona|comparte|dame|pega|indica|escrib)",
    r"(?:je serais|je suis) (?:ravie?|heureux|heureuse|contente?) de\b|avec plaisir\b|veuillez\b",
    r"ich (?:helfe|würde) .{0,12}(?:gerne?|freuen|lieben)|gerne (?:helfe|mache)",
    r"bitte (?:senden|geben|schick)|(?:ficaria|adoraria|terei) .{0,20}(?:feliz|ajudar|prazer)",
    r"com prazer\b",
    without_spaces="很高兴(?:为|能|帮|协)|很乐意|乐意(?:为|帮)|高兴(?:地)?为您"
    "|请(?:您)?(?:提供|发送|粘贴|输入|告诉|给出)",
)
DECLINED = _phrases(
    r"(?:can't|cannot|can not|could not|couldn't|unable to|not able to|won't|will not)\s+"
    r"(?:\w+\s+){0,2}?(?:tell|say|answer|determine|classify|help|assist|provide|identify|decide|do"
    "|give|access|see|read|judge|label|assign|make|be determined|be classified|comply|fulfil|detect"
    "|infer|know|offer|express)",
    r"(?:hard|difficult|impossible|not possible|tough) to "
    "(?:say|tell|determine|classify|judge|know|decide|identify)",
    r"(?:as|i'm|i am) (?:just |only )?an? (?:ai|language model|assistant)\b",
    r"(?:como|als|en tant que) (?:une? |um |ein )?(?:model[oe]|modèle|sprachmodell|ia|ki)\b",
    "i (?:do not|don't) (?:know|have|understand)",
    r"not (?:enough|sufficient) (?:information|context|text)",
    r"(?:i'm|i am|we're|we are) (?:afraid|sorry)\b|i fear\b|i apologi[sz]e\b|my apologies\b",
    r"i (?:\w+ ){0,2}(?:stay|remain) (?:neutral|impartial|objective)\b",
    # An answer that asks for the text has classified none.
    r"(?:(?<![^\n])|(?<=[.!?,:;] )|(?<=please )|(?<=just ))(?:paste|provide|share|send|enter)\s+"
    r"(?:me\s+)?(?:it\b|(?:the|your|a|some|more)\s+(?:text|message|sentence|review|content)\b)",
    r"(?:what|which) (?:is the )?text\b|qué texto\b|quel (?:est le )?texte\b|welche[nr] text\b",
    r"i(?:'d| would) (?:love|need|like) (?:some )?more (?:context|information|details)\b",
    r"there(?:'s| is) no text|no text (?:was|has been)\b",
    r"(?:env[ií][ae]|manda|comparte|proporciona|pega)(?:me|nos)? (?:el|tu|su|un) (?:texto|mensaje)",
    r"(?:envoyez|collez|partagez|donnez)(?:-moi)? (?:le|votre|un) (?:texte|message)",
    r"(?:senden|schicken|geben) sie (?:mir )?(?:den|ihren|einen) text|ich habe angst\b",
    r"(?:envie|mande|cole|compartilhe) (?:o|seu|um) texto",
    r"(?:tengo|me da) miedo\b|j'ai peur\b|tenho medo\b",
    r"i regret\b|no (?:puedo|podemos|sé|tengo)\b|no es posible\b|me temo\b",
    r"lo (?:siento|lamento)\b|disculp|perd[oó]n",
    r"désolée?\b|je ne (?:peux|sais|suis)\b|je crains\b|impossible de\b|malheureusement\b",
    r"tut mir leid\b|leider\b|ich fürchte\b",
    r"ich (?:kann|weiß) (?:das |es |dir |ihnen )?(?:nicht|leider|keine)",
    r"desculpe\b|não (?:posso|consigo|sei|é possível)\b|infelizmente\b|receio\b|sinto muito\b",
    without_spaces="抱歉|对不起|對不起|无法|無法|不能(?:回答|判断|确定|分类|提供|帮)|不好意思|恐怕"
    r"|很遗憾|我不知道|难以(?:判断|确定)|不确定|^\W*sorry\b|n't (?:enough|sufficient) \w"
    "|作为(?:一[个名])?(?:人工智能|ai|语言模型)",
)

SENTENCE = re.compile(r"(?:[^.!?。！？\n]|\.(?=\d))*+(?:[.!?。！？\n]+|\Z)")
# Items of a list of single words (`positiva, negativa, neutral`), and of a list of lines.
_AND = r"(?:and|or|y|o|und|oder|et|ou|e)\s+"
ITEMS_BEFORE = re.compile(rf"[^\W\d_]+,\s+[^\W\d_]+(?:,\s+(?:{_AND})?|\s+{_AND})\Z")
ITEM_BEFORE = re.compile(r"[^\W\d_]+,\s+\Z")
ITEM_AFTER = re.compile(r",\s+[^\W\d_]+\s*(?:[,.]|\Z)")
LINE_ITEM = re.compile(r"\s*(?:\d{1,3}[.)]|[-*•])\s")
