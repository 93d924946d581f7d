"""The page about more than one machine: the options and the variables of its unit."""

from __future__ import annotations

import re
import shlex

from click import Context
from twisted.trial.unittest import TestCase

from blobman.cli.serving import serve

from .test_examples import DOCS

PAGE = DOCS / "more-than-one-machine.md"


class UnitTests(TestCase):
    def setUp(self) -> None:
        text = PAGE.read_text("utf-8").replace("\\\n", " ")
        (self.line,) = re.findall("^ExecStart=(.*)", text, re.MULTILINE)
        self.variables = dict(re.findall("^([A-Z_]+)=(.*)", text, re.MULTILINE))

    def test_options(self) -> None:
        program, command, *arguments = shlex.split(self.line)
        self.assertEqual((program, command), ("/opt/blobman/bin/blobman", "serve"))
        context: Context = serve.make_context("serve", arguments)
        self.assertEqual(context.params["keep_payloads"], 8)

    def test_variables_of_ours(self) -> None:
        known = {getattr(option, "envvar", None) for option in serve.params}
        ours = {name for name in self.variables if name.startswith("BLOBMAN_")}
        self.assertEqual(ours, {"BLOBMAN_CATALOGUE", "BLOBMAN_PAYLOADS"})
        self.assertLessEqual(ours, known)
