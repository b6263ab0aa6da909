"""Run the cases beside this file under the package that ``UNDER_TEST`` names; print what came of each as JSON."""

import json
import logging
import os
import sys
import unittest
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
# Found out before the cases are imported, so that they see all.
warnings.simplefilter("error" if os.environ.get("STRICT") else "default")


class Result(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, list[str]] = {}

    def _note(self, test: unittest.TestCase, kind: str, error: Any = None) -> None:
        text = kind
        if error is not None:
            first = str(error[1]).splitlines()
            text = f"{kind} {error[0].__name__}: {first[0] if first else ''}"
        self.outcomes.setdefault(test.id(), []).append(text)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "ok")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "error", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "failure", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, f"skip {reason}")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "expected failure")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        self._note(test, "subtest failure" if err else "subtest", err)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    import cases  # type: ignore[import-not-found]

    result = Result()
    unittest.defaultTestLoader.loadTestsFromModule(cases).run(result)
    print(json.dumps(result.outcomes, indent=1, sort_keys=True))
