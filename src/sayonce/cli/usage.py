"""Run the command that was typed, and translate the words that typer adds to help and errors."""

from __future__ import annotations

import io
import re
import sys
from typing import Any, Final

import typer

from sayonce.cli.app import app
from sayonce.cli.language import chinese, phrase
from sayonce.cli.texts import USAGE_ERROR

_NAME: Final = "sayonce"
_WORDS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), chinese)
    for pattern, chinese in (
        (r"^Usage: ", "用法:"),
        (r"^Try '(.+)' for help\.", r"用 '\1' 查看帮助。"),
        (r"^Error: ", "错误:"),
        (r"Invalid value for (.+?): ", r"\1 的值不对:"),
        (r"Invalid value: ", ""),
        (r"No such option: (\S+)", r"没有选项 \1"),
        (r"\(Possible options: (.+)\)", r"(是不是:\1)"),
        (r"No such command '(.+?)'\.", r"没有命令 '\1'。"),
        (r"Did you mean (.+)\?", r"是不是 \1?"),
        (r"Missing command\.", "缺少命令。"),
        (r"Missing (?:argument|option) '(.+)'\.", r"缺少 '\1'。"),
        (r"Got unexpected extra argument\S* \((.+)\)", r"多出来的参数:\1"),
        (r"Option '(.+)' requires an argument\.", r"选项 '\1' 后面要有一个值。"),
        (r"Option '(.+)' does not take a value\.", r"选项 '\1' 后面没有值。"),
        (r"'(.*)' is not a valid int(?:eger)?\.", r"'\1' 不是整数。"),
        (r"'(.*)' is not a valid float\.", r"'\1' 不是数字。"),
        (r"'(.*)' is not one of (.+)\.", r"'\1' 不在其中:\2。"),
        (r"(\S+) is not in the range (.+)\.", r"\1 不在范围 \2 之内。"),
        (r"(?:Directory|Path|File|dir|path|file) '(.+)' does not exist\.", r"'\1' 不存在。"),
        (r"(?:Directory|dir) '(.+)' is a file\.", r"'\1' 是文件,这里要目录。"),
        (r"Value error, ", ""),
        (r"Input should be a valid integer.*", "要一个整数。"),
        (r"Input should be a valid number.*", "要一个数字。"),
        (r"Input should be greater than or equal to (\S+)", r"不能小于 \1。"),
        (r"^(\s*)Options:$", r"\1选项:"),
        (r"^(\s*)Commands:$", r"\1命令:"),
        (r"^(\s*)Arguments:$", r"\1参数:"),
        (r"Show this message and exit\.", "显示本说明。"),
        (r"\[default: ", "[默认:"),
        (r"\[required\]", "[必需]"),
    )
)


def run() -> None:
    """Run the command that was typed; ends as typer does."""
    if not chinese():
        app(prog_name=_NAME)
        return
    command: Any = typer.main.get_command(app)
    translate(command)
    try:
        code = command.main(prog_name=_NAME, standalone_mode=False)
    except USAGE_ERROR as error:
        shown = io.StringIO()
        error.show(file=shown)
        print(in_chinese(shown.getvalue()), end="", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    sys.exit(code or 0)


def translate(command: Any) -> None:
    """Have a command, and those below it, explain themselves in the user's language."""
    command.help = phrase(command.help)
    for param in command.params:
        if getattr(param, "help", None):
            param.help = phrase(param.help)
    get_help = command.get_help
    command.get_help = lambda context: in_chinese(get_help(context))
    for each in getattr(command, "commands", {}).values():
        translate(each)


def in_chinese(text: str) -> str:
    """Return a text of typer in Chinese, as far as its words are known."""
    for pattern, chinese_words in _WORDS:
        text = pattern.sub(chinese_words, text)
    return text
