"""The models that there are: the names that a request's ``model`` may have."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sayonce.gateway import answers
from sayonce.gateway.access import Access
from sayonce.gateway.http import json_response
from sayonce.speech.catalogue import Catalogue


class Models:
    """Lists of models, which are the same for everyone."""

    def __init__(self, catalogue: Catalogue, access: Access) -> None:
        self._catalogue = catalogue
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self.all),
            Route("/v1/models/{id:path}", self.one),
            Route("/v1/audio/models", self.audio),
        ]

    async def all(self, request: Request) -> Response:
        self._access.authorise_reader(request.scope["headers"])
        return json_response(answers.Models(data=self._models()))

    async def audio(self, request: Request) -> Response:
        self._access.authorise_reader(request.scope["headers"])
        models = self._models()
        named = [answers.Named(id=model.id, name=model.id) for model in models]
        return json_response(answers.AudioModels(data=models, models=named))

    async def one(self, request: Request) -> Response:
        self._access.authorise_reader(request.scope["headers"])
        name = request.path_params["id"]
        engine = self._catalogue.find(name)
        return json_response(answers.Model(id=name, created=0, owned_by=engine.kind))

    def _models(self) -> list[answers.Model]:
        models = self._catalogue.models
        return [answers.Model(id=name, created=0, owned_by=engine.kind) for name, engine in models.items()]
