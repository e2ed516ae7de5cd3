"""Where chat templates run: jinja2's immutable sandbox, with an end to their work and to their sizes.

A template comes with a model's files, and so from a stranger. The sandbox keeps it from everything but
the values it is given; what it does not do is to stop. Jinja has three ways to go on: loops, calls
(macros that call themselves) and values that double. So each turn of a loop and each call counts, and no
value may grow past a limit; filters and globals that make something large out of nothing are not there.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["STEPS_MAX", "VALUE_MAX", "TemplateSandbox"]

#: Turns of loops and calls in one rendering; those that are published take some hundred.
STEPS_MAX = 50_000
#: Characters, or items, of any value and of the whole text.
VALUE_MAX = 262_144

_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int"),
    *("items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "title", "trim"),
    *("unique", "upper"),
)
_GLOBALS = frozenset({"dict", "namespace", "range"})
#: Methods of texts that pad them to any length.
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "translate", "zfill"})


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Compiles and renders chat templates, from any thread.

    Its functions are those that transformers gives to chat templates (``raise_exception``,
    ``strftime_now``, a ``tojson`` that escapes nothing), and so are its settings.

    Parameters
    ----------
    now : callable
        Returns the local time.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, now: Callable[[], datetime] = datetime.now) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self._work = threading.local()
        known = {name: self.filters[name] for name in _FILTERS} | {"tojson": _to_json}
        known |= {"replace": _replace(known["replace"]), "join": _join(known["join"])}
        self.filters = {name: _bounding(filter_) for name, filter_ in known.items()}
        # Under names that no template can say.
        self.filters |= {" counted": self._counted, " bounded": _bounded}
        self.globals = {name: self.globals[name] for name in _GLOBALS}
        self.globals |= {"raise_exception": _raise, "strftime_now": lambda form: now().strftime(form)}

    def render(self, code: Any, values: Mapping[str, Any]) -> str:
        """Render what ``compile_source`` returned.

        Raises
        ------
        Exception
            Whatever the template raises; a ``jinja2.TemplateError`` where it says so itself.
        """
        self._work.steps = 0
        template = self.template_class.from_code(self, code, dict(self.globals), None)
        pieces: list[str] = []
        length = 0
        for piece in template.generate(values):
            length += len(piece)
            if length > VALUE_MAX:
                raise SecurityError(f"the text is longer than {VALUE_MAX} characters")
            pieces.append(piece)
        return "".join(pieces)

    def compile_source(self, source: str) -> Any:
        """Compile a template, its loops and concatenations guarded.

        Raises
        ------
        jinja2.TemplateError
            It is no template.
        """
        tree = self.parse(source)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _filtered(loop.iter, " counted")
        _guard_concatenations(tree)
        return self.compile(tree)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls; see ``SandboxedEnvironment.call``."""
        self._count()
        _, function, *given = args
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            _check_growth(owner, function.__name__, given)
        return _bounded(super().call(*args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may have an attribute; see ``SandboxedEnvironment``."""
        if isinstance(obj, str) and attr in _PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Let no ``str.format`` through: it pads to any length; see ``SandboxedEnvironment``."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute what may grow; see ``SandboxedEnvironment.call_binop``."""
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"the operator {operator} is not known here")
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if hasattr(many, "__len__") and isinstance(times, int) and len(many) * times > VALUE_MAX:
                    raise _too_large()
        return _bounded(super().call_binop(context, operator, left, right))

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._count()
            yield item

    def _count(self) -> None:
        self._work.steps += 1
        if self._work.steps > STEPS_MAX:
            raise SecurityError(f"it takes more than {STEPS_MAX} turns of loops and calls")


class _Generation(Extension):
    """``{% generation %}``: what training wants to know, and nobody else."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own form

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _guard_concatenations(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, nodes.Node):
                _guard_concatenations(part)
        guarded = [_filtered(part, " bounded") if isinstance(part, nodes.Concat) else part for part in parts]
        setattr(node, name, guarded if isinstance(value, list) else guarded[0])


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _bounding(filter_: Callable[..., Any]) -> Callable[..., Any]:
    # With its attributes: they tell jinja2 what else the filter is called with.
    @functools.wraps(filter_)
    def bounding(*args: Any, **kwargs: Any) -> Any:
        return _bounded(filter_(*args, **kwargs))

    return bounding


def _bounded(value: Any) -> Any:
    is_large = (
        abs(value) > 2**63 if isinstance(value, int) else hasattr(value, "__len__") and len(value) > VALUE_MAX
    )
    if is_large:
        raise _too_large()
    return value


def _check_growth(owner: str, name: str, given: list[Any]) -> None:
    """Refuse what would be too large before it is made."""
    if name == "replace" and len(given) > 1:
        count = owner.count(str(given[0]))
        if len(owner) + count * len(str(given[1])) > VALUE_MAX:
            raise _too_large()
    elif name == "join" and given and hasattr(given[0], "__len__"):
        if (len(owner) + 1) * len(given[0]) > VALUE_MAX:
            raise _too_large()
    elif name == "join":
        raise SecurityError("join takes a list")


def _replace(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def replace(eval_ctx: Any, text: Any, old: str, new: str, count: int | None = None) -> Any:
        _check_growth(str(text), "replace", [old, new])
        return filter_(eval_ctx, text, old, new, count)

    return replace


def _join(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def join(eval_ctx: Any, items: Iterable[Any], between: str = "", attribute: Any = None) -> Any:
        items = list(items)
        if (
            sum(len(one) if isinstance(one, str) else 1 for one in items) + len(between) * len(items)
            > VALUE_MAX
        ):
            raise _too_large()
        return filter_(eval_ctx, items, between, attribute)

    return join


def _to_json(value: Any, **options: Any) -> str:
    known = {"ensure_ascii", "indent", "separators", "sort_keys"}
    if not set(options) <= known or not isinstance(options.get("indent") or 0, int):
        raise SecurityError(f"tojson takes {', '.join(sorted(known))}")
    indent = min(options.get("indent") or 0, 8) or None
    return json.dumps(value, **{"ensure_ascii": False, **options, "indent": indent})


def _raise(message: str) -> str:
    raise TemplateError(message)


def _too_large() -> SecurityError:
    return SecurityError(f"a value is larger than {VALUE_MAX} characters or items")
