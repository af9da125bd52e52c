"""The command line speaks Chinese where the locale does: every phrase, with its values; JSON stays as it is."""

import ast
import errno
import os
import re
from pathlib import Path
from string import Formatter

import pytest
import typer

from sayonce.cli import usage
from sayonce.cli.app import app
from sayonce.cli.chinese import PHRASES
from sayonce.cli.language import choose, phrase

SOURCES = Path(usage.__file__).parent
TALKING = {"phrase", "talk", "wrong"}
CHINESE = re.compile("[\u4e00-\u9fff]")
LOCALE = {"LC_ALL": "", "LANG": "zh_CN.UTF-8", "PYTHONUTF8": "1"}
STRERRORS = {os.strerror(number) for number in errno.errorcode}


@pytest.fixture(autouse=True)
def english():
    yield
    choose({})


def literals(node):
    """Return the texts that an expression may be, and whether it is made of anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return literals(node.body) + literals(node.orelse)
        case _:
            return []


def calls():
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in TALKING:
                yield path.name, node


def helps(command):
    """Return what a command and those below it say of themselves and of their options."""
    found = [command.help, *(getattr(param, "help", None) for param in command.params)]
    for each in getattr(command, "commands", {}).values():
        found += helps(each)
    return {text for text in found if text}


def names(template):
    return sorted(name.partition("!")[0] for _, name, _, _ in Formatter().parse(template) if name is not None)


def test_every_phrase_has_its_chinese_one_and_is_given_its_values():
    for name, call in calls():
        for text in literals(call.args[0]):
            assert text in PHRASES, name
            if call.keywords and all(keyword.arg for keyword in call.keywords):
                assert set(names(text)) <= {keyword.arg for keyword in call.keywords}, text


def test_every_line_of_help_has_its_chinese_one():
    assert helps(typer.main.get_command(app)) - PHRASES.keys() - {"Show this message and exit."} == set()


def test_no_message_is_put_together_without_the_table_of_translations():
    for name, call in calls():
        if isinstance(call.args[0], ast.JoinedStr):
            fixed = "".join(part.value for part in call.args[0].values if isinstance(part, ast.Constant))
            assert not re.search("[A-Za-z]{2}", fixed), (name, fixed)


@pytest.mark.parametrize("english", PHRASES)
def test_chinese_phrases_have_the_same_placeholders_as_english_ones(english):
    chinese = PHRASES[english]
    assert names(english) == names(chinese)
    assert CHINESE.search(chinese) or chinese.startswith("--"), chinese


def test_every_translated_phrase_is_one_that_the_command_line_says():
    said = "".join(path.read_text() for path in SOURCES.glob("*.py") if path.name != "chinese.py")
    said += (SOURCES.parent / "stores/redis/health.py").read_text()
    constants = {
        node.value for node in ast.walk(ast.parse(said.replace("from __future__ import annotations", "")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }  # fmt: skip
    docstrings = {" ".join(text.split()) for text in constants}
    assert PHRASES.keys() - constants - docstrings - STRERRORS == set()


@pytest.mark.parametrize(
    ("variables", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB"}, False),
        ({}, False),
    ],
)
def test_the_locale_chooses_the_language_of_the_command_line(variables, chinese):
    choose(variables)
    assert phrase("interrupted") == ("已中断" if chinese else "interrupted")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "用法:sayonce"),
        (("--help",), "选项:"),
        (("say", "--help"), "用哪个音色说。"),
        (("warm", "--help"), "[默认:4"),
        (("stats",), "命中率    还没有请求"),
        (("stat",), "没有命令 'stat'。 是不是 'stats'?"),
        (("say",), "缺少 'TEXT'。"),
        (("say", "Hi.", "--wrong"), "没有选项 --wrong"),
        (("serve", "--port", "many"), "'--port' 的值不对:"),
        (("warm", "a.txt", "--concurrency", "0"), "'--concurrency' 的值不对:"),
        (("purge",), "错误:KEY、--text、--request、--tag 和 --all 要给一个,也只能给一个"),
        (("explain", "missing.json"), "无法读取 missing.json:没有这个文件或目录"),
        (("doctor", "--engine", "espeak"), "配置: 没有文件;用默认值和环境变量"),
        (("say", "Hi.", "--engine", "espeak"), "speech.wav: 合成用时"),
        (("warm", "missing.txt"), "无法读取 missing.txt"),
    ],
)
def test_a_command_speaks_chinese(sayonce, arguments, says):
    result = sayonce(*arguments, **LOCALE)
    assert says in result.out + result.err
    for english in ("Usage", "Error", "Options", "Commands", "Arguments", "Show this", "default", "Invalid", "stored"):
        assert english not in result.out + result.err


def test_exit_codes_are_the_same_in_both_languages(sayonce):
    for arguments, code in ((("purge",), 2), ((), 2), (("stat",), 2), (("stats",), 0), (("stats", "--help"), 0)):
        assert sayonce(*arguments).code == sayonce(*arguments, **LOCALE).code == code
    redis = ("stats", "--store", "redis://127.0.0.1:1")
    assert sayonce(*redis).code == sayonce(*redis, **LOCALE).code == 1


def test_json_is_the_same_in_both_languages(sayonce):
    request = ("explain", '{"input": "Hi."}', "--engine", "espeak", "--json")
    assert sayonce(*request).out == sayonce(*request, **LOCALE).out
    found = sayonce("doctor", "--engine", "espeak", "--json", **LOCALE)
    assert not CHINESE.search(found.out)


def test_a_terminal_that_cannot_show_chinese_gets_it_escaped(sayonce):
    for encoding in ("ascii", "gbk"):
        result = sayonce("stats", **LOCALE, PYTHONIOENCODING=encoding)
        assert result.code == 0
    assert sayonce("explain", '{"input": "Grüße → 你"}', "--engine", "espeak", PYTHONIOENCODING="ascii").code == 0
