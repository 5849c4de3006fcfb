"""The service described: an OpenAPI document with each model's own fields and a working example, and a page that shows it."""

from collections.abc import Mapping
from typing import Any

from nightgate.serving.live import Live

_TYPES: Mapping[str, Any] = {"integer": {"type": ["integer", "null"], "minimum": -2**63, "maximum": 2**63 - 1},
                             "number": {"type": ["number", "null"], "minimum": -3.4e38, "maximum": 3.4e38},
                             "boolean": {"type": ["boolean", "null"]}, "text": {"type": ["string", "null"]},
                             "date": {"type": ["string", "null"], "description": "Such as 2026-11-20T08:30:00."}}
PROBLEM = {"description": "What is wrong, each mistake of each row, at most 50.", "content": {"application/json": {"schema": {
    "type": "object", "required": ["error"], "properties": {"error": {"type": "object", "required": ["kind", "mistakes"], "properties": {
        "kind": {"type": "string"}, "mistakes": {"type": "array", "items": {"type": "string"}}}}}}}}}
REFUSALS = {code: {**PROBLEM, "description": told} for code, told in {
    "401": "No key, or one that is unknown or has expired.", "403": "The key is not for this model.", "404": "There is no such model.",
    "413": "The body is too large.", "415": "The body is no JSON in UTF-8, by its headers.", "429": "Too many requests for this key.",
    "503": "The answer could not be written into the prediction log; nothing was answered."}.items()}


def openapi(models: Mapping[str, Live]) -> dict[str, Any]:
    """Return the document of what serves now."""
    paths: dict[str, Any] = {}
    for name, live in sorted(models.items()):
        row = _row(live)
        answered = {"description": "The answers, in the order of the rows.", "content": {"application/json": {"schema": _answers(live)}}}
        paths[f"/models/{name}/predict"] = {"post": {
            "summary": f"Predict with {name}", "operationId": f"predict_{name}",
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": [row, {
                "type": "object", "required": ["rows"], "additionalProperties": False,
                "properties": {"rows": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": row}}}]},
                **({"example": live.example} if live.example is not None else {})}}},
            "responses": {"200": answered, "422": PROBLEM, **REFUSALS}}}
    return {"openapi": "3.1.0", "info": {"title": "Nightgate predictions", "version": "1"}, "paths": paths, "security": [{}, {"key": []}],
            "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}}


def _row(live: Live) -> dict[str, Any]:
    """Return the schema of a row, with what the contract says of single columns."""
    fields = {name: dict(_TYPES[kind]) for name, kind in live.raw.items()}
    for rule in live.rules["kept"]:
        if len(rule["columns"]) == 1:
            _narrow(fields[rule["columns"][0]], rule, live.raw[rule["columns"][0]])
    keys = {name: {**_TYPES[kind], "description": "What the row is about: not needed, kept in the log, where labels find it."}
            for name, kind in live.manifest.keys.items()}
    return {"type": "object", "required": list(fields), "additionalProperties": False, "properties": {**fields, **keys}}


def _narrow(field: dict[str, Any], rule: Mapping[str, Any], kind: str) -> None:
    if rule["kind"] == "known":
        field["type"] = field["type"][0]
    elif rule["kind"] == "between" and kind in ("integer", "number"):
        for side, word in (("min", "inimum"), ("max", "aximum")):
            if rule[side] is not None:
                strict = rule[f"strict_{side}"]
                field[f"exclusive{side[0].upper()}{word}" if strict else f"{side[0]}{word}"] = rule[side]
    elif rule["kind"] == "in" and kind == "text" and len(rule["values"]) <= 50:
        field["enum"] = [*rule["values"], *([None] if isinstance(field["type"], list) else [])]


def _answers(live: Live) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    if live.manifest.task == "regression":
        answer: dict[str, Any] = {"prediction": {"type": "number"}}
    elif live.manifest.task == "binary":
        answer = {"prediction": {"enum": live.manifest.classes}, "probability": share}
    else:
        answer = {"prediction": {"enum": live.manifest.classes},
                  "probabilities": {"type": "object", "properties": dict.fromkeys(live.manifest.classes, share)}}
    return {"type": "object", "required": ["model", "version", "request_id", "predictions"], "properties": {
        "model": {"const": live.model}, "version": {"type": "integer"}, "request_id": {"type": "string"},
        "predictions": {"type": "array", "items": {"type": "object", "required": list(answer), "properties": answer}}}}


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Nightgate predictions</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}pre,textarea,input{width:100%;
box-sizing:border-box;font:14px/1.4 ui-monospace,monospace;background:#f4f4f6;border:1px solid #ccd;padding:.6rem}textarea{height:12rem}
button{font:inherit;padding:.4rem 1.2rem}td,th{text-align:left;padding:.1rem 1rem .1rem 0}</style></head><body>
<h1>Nightgate predictions</h1><p><a href="/openapi.json">openapi.json</a></p><label>Key, where one is needed
<input id="key" type="password" autocomplete="off"></label><button id="show">Show</button><main></main><script>
const asked=()=>{const key=document.querySelector('#key').value;return key?{authorization:'Bearer '+key}:{}};
async function show(){const main=document.querySelector('main');main.textContent='';
const answer=await fetch('/openapi.json',{headers:asked()});if(!answer.ok){main.textContent='A key is needed.';return}
const all=await answer.json();for(const [path,{post}] of Object.entries(all.paths)){const body=post.requestBody.content['application/json'];
const part=document.createElement('section');const add=(tag,text)=>{const made=document.createElement(tag);made.textContent=text;
part.append(made);return made};add('h2',post.summary);add('p','POST '+path);const table=add('table','');
for(const [name,field] of Object.entries(body.schema.anyOf[0].properties)){const row=table.insertRow();row.insertCell().textContent=name;
row.insertCell().textContent=JSON.stringify(field)}const text=add('textarea','');text.value=JSON.stringify(body.example??{},null,1);
const button=add('button','Predict'),said=add('pre','');button.onclick=async()=>{const found=await fetch(path,{method:'POST',
headers:{'content-type':'application/json',...asked()},body:text.value});said.textContent=JSON.stringify(await found.json(),null,1)};
main.append(part)}}document.querySelector('#show').onclick=show;show()</script></body></html>"""
