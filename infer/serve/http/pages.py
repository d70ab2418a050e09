"""Pages for people: the playground, and a page of the addresses that loads nothing."""

import html
from typing import Any

from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charlm.data.pages import markup, style
from charlm.data.pages.table import Row, table
from charlm.export.contract import PLAYGROUND

# The page's own scripts, styles and answers, and nothing of another host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STYLED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


async def playground() -> Response:
    """`/`."""
    return FileResponse(PLAYGROUND / "index.html", headers=HEADERS)


class Quiet:
    """Static files, with the page's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them."""
        added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, sent)


def reference(openapi: dict[str, Any]) -> Response:
    """`/docs`: each address with its fields, from the OpenAPI document."""
    schemas = openapi["components"]["schemas"]
    sections = [
        markup.section(f"{method.upper()} {path}", *_operation(operation, schemas))
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    about = f"<h1>charlm {html.escape(openapi['info']['version'])}</h1>" + markup.paragraph(
        openapi["info"]["description"] + " For programs: /openapi.json."
    )
    page = markup.document("charlm", style.BASE, "\n".join([about, *sections]))
    return HTMLResponse(page, headers={"Content-Security-Policy": STYLED})


def _operation(operation: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    parts = [markup.paragraph(operation.get("description", operation["summary"]))]
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        fields = schemas[reference.rpartition("/")[2]]["properties"]
        rows = [Row((name, _type(each), each.get("description", "")))
                for name, each in fields.items()]  # fmt: skip
        parts.append(markup.lay_out(table(("field", "type", ""), rows, (1, 2))))
    return parts


def _type(schema: dict[str, Any]) -> str:
    """A schema's type in a few words."""
    if "anyOf" in schema:
        named = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(named))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "object"))
