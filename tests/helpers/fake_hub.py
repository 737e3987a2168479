"""A stand-in for the Hugging Face hub: its HTTP interface for models, with repositories in memory.

huggingface_hub's own client talks to it, so requests, commits, uploads and the cache are real.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """Repositories as lists of commits, each {path: content}; requests as (method, path)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits = {}
        self.private = {}
        self.objects = {}
        self.requests = []
        self.tags = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repository, revision="main"):
        """Content of a revision; None where there is none."""
        commits = self.commits[repository]
        number = {"main": len(commits) - 1, **self.tags}.get(revision)
        if number is None:
            hashes = [sha(repository, n) for n in range(len(commits))]
            number = hashes.index(revision) if revision in hashes else None
        return None if number is None else (sha(repository, number), commits[number])


def sha(repository, number):
    return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status, code, text):
        self.answer(status, b"", X_Error_Code=code, X_Error_Message=text)

    def handle_any(self):
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub, parts = self.server, path.strip("/").split("/")
        hub.requests.append((self.command, path))
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path.startswith("/objects/"):
            hub.objects[parts[-1]] = body
            return self.answer(200)
        if self.command == "POST" and not allowed:
            return self.answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        names = parts[2:4] if parts[:2] == ["api", "models"] else parts[:2]
        repository = "/".join(names).removesuffix(".git")
        hidden = hub.private.get(repository) and not allowed
        if repository not in hub.commits or hidden:
            return self.fail(401, "RepoNotFound", "Repository not found")
        rest = parts[4:] if parts[0] == "api" else parts[2:]
        return self.repository(repository, rest, body)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any

    def create(self, asked):
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.server.commits:
            return self.answer(409, {"error": "exists", "url": f"{self.server.url}/{name}"})
        self.server.commits[name] = [{}]
        self.server.private[name] = asked.get("visibility") == "private" or asked.get("private")
        return self.answer(200, {"url": f"{self.server.url}/{name}", "name": name})

    def repository(self, repository, rest, body):
        hub = self.server
        action, argument = (rest or ["revision"])[0], "/".join(rest[1:]) or "main"
        if action == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith("safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if rest[:3] == ["info", "lfs", "objects"]:
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/objects/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if action == "commit":
            return self.commit(repository, body)
        revision = argument if action in ("revision", "tree") else rest[1]
        found = hub.files(repository, revision)
        if found is None:
            return self.fail(404, "RevisionNotFound", "Invalid rev id")
        commit, files = found
        if action == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": etag(content)}
                for path, content in files.items()
            ]
            return self.answer(200, listed)
        if action == "resolve":
            content = files.get("/".join(rest[2:]))
            if content is None:
                return self.fail(404, "EntryNotFound", "Entry not found")
            return self.answer(200, content, ETag=f'"{etag(content)}"', X_Repo_Commit=commit)
        siblings = [{"rfilename": path} for path in files]
        return self.answer(200, {"id": repository, "sha": commit, "siblings": siblings})

    def commit(self, repository, body):
        files = dict(self.server.commits[repository][-1])
        for line in body.decode().splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif one["key"] == "lfsFile":
                content = self.server.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                files[value["path"]] = content
            elif one["key"] == "deletedFile":
                files.pop(value["path"])
        self.server.commits[repository].append(files)
        oid = sha(repository, len(self.server.commits[repository]) - 1)
        address = f"{self.server.url}/{repository}/commit/{oid}"
        return self.answer(200, {"commitOid": oid, "commitUrl": address, "success": True})


def etag(content):
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub_for(monkeypatch, cache):
    """Lets huggingface_hub in this process talk to a hub of its own, by plain uploads."""
    from huggingface_hub import constants

    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (
        ("ENDPOINT", hub.url),
        ("HUGGINGFACE_CO_URL_TEMPLATE", template),
        ("HF_HUB_OFFLINE", False),
        ("HF_HUB_DISABLE_XET", True),  # its servers have an interface of their own
        ("HF_HUB_CACHE", str(cache)),
    ):
        monkeypatch.setattr(constants, name, value)
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
