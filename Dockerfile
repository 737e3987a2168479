# The package, installed as `make install` does it.
#   CPU: docker build -t mmseg_uda .
#   GPU: docker build -t mmseg_uda --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 .
# PyTorch's default wheels bring their CUDA libraries, so the base image needs none. For its CPU
# build: --build-arg PIP_EXTRA_INDEX_URL=... with the address that PyTorch's page "Get started" shows.
ARG BASE=python:3.11-slim
FROM ${BASE}

# Python where the base has none, and the libraries that opencv-python links.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make libgl1 libglib2.0-0 \
    && { command -v python3 || apt-get install -y --no-install-recommends python3 python3-venv; } \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mmseg_uda
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1

# What the installation reads, first: a change of code does not install everything anew.
COPY LICENSE Makefile README.md constraints.txt pyproject.toml setup.py ./
COPY mmseg_uda/__init__.py mmseg_uda/
RUN make install

COPY . .
ENV PATH=/opt/mmseg_uda/.venv/bin:$PATH
CMD ["mmseg-uda", "--help"]
