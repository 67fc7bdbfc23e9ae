# Images: serving (the default), `--target worker` with shap, `--target train` with the notebooks.
# Built by docker, podman or buildah: `make docker-build`. Packages come before code in every
# image, so that a change of code rebuilds the last, small layer only. `deploy/container.sh build`
# gives the base by its digest, and writes it on the image.
ARG BASE=python:3.11-slim-bookworm

# The lists are stages of their own: an edit of the lock that does not change the list of an image
# does not install it again. They are copied: buildah's cache does not see what a mount holds.
FROM ${BASE} AS lists
WORKDIR /src
COPY environment.yml requirements.lock ./
COPY deploy/pins.py deploy/
RUN mkdir /lists \
    && for list in serving worker train cpu cuda; do \
      mkdir /lists/$list && python deploy/pins.py $list > /lists/$list/list.txt; done \
    && mv /lists/cpu/list.txt /lists/train/cpu.txt && mv /lists/cuda/list.txt /lists/train/cuda.txt
FROM scratch AS serving-list
COPY --from=lists /lists/serving /
FROM scratch AS worker-list
COPY --from=lists /lists/worker /
FROM scratch AS train-list
COPY --from=lists /lists/train /

FROM ${BASE} AS installer
COPY deploy/install-packages.sh /usr/local/bin/install-packages
COPY deploy/install-hashed.sh /usr/local/bin/install-hashed

FROM installer AS serving-packages
COPY --from=serving-list / /lists/
RUN --mount=type=cache,target=/root/.cache/pip \
    sh /usr/local/bin/install-packages

FROM serving-packages AS worker-packages
COPY --from=worker-list / /lists/
RUN --mount=type=cache,target=/root/.cache/pip \
    sh /usr/local/bin/install-packages

FROM installer AS train-packages
# Where pip would pick a GPU build of torch: --build-arg PIP_FIND_LINKS=<CPU wheels>
ARG PIP_FIND_LINKS=
COPY --from=train-list / /lists/
RUN --mount=type=cache,target=/root/.cache/pip \
    sh /usr/local/bin/install-packages

FROM ${BASE} AS code
COPY lib /app/lib
COPY serving /app/serving
RUN python -m compileall -q --invalidation-mode unchecked-hash /app

# What learns needs PyTorch, which the images that serve and explain do not have.
FROM code AS serving-code
RUN rm -r /app/lib/training /app/lib/tuning /app/lib/models/pretrained_network

FROM ${BASE} AS trimmed
RUN groupadd --gid 10001 app \
    && useradd --uid 10001 --gid app --home-dir /data --no-create-home --shell /usr/sbin/nologin app \
    && install --directory --owner app --group app --mode 0750 /data
COPY deploy/trim-base.sh /tmp/trim-base
RUN sh /tmp/trim-base && rm /tmp/trim-base

# One layer, or what is taken away above would still be stored below. It has no installer.
FROM scratch AS base
# hadolint ignore=DL3067
COPY --from=trimmed / /
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    VAR_DIR=/data \
    HOME=/data \
    TMPDIR=/data
LABEL org.opencontainers.image.title="production-lstm" \
      org.opencontainers.image.description="Probabilistic forecasts of daily series by one ONNX graph" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
USER 10001:10001
VOLUME /data

FROM base AS train
COPY --from=train-packages /opt/venv /opt/venv
COPY pyproject.toml environment.yml ./
ENV JUPYTER_PREFER_ENV_PATH=1 MPLCONFIGDIR=/data/matplotlib NUMBA_CACHE_DIR=/data/numba
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "lib.pipeline", "train"]
CMD ["--profile", "default"]
COPY notebooks notebooks
COPY --from=code /app /app
ARG REVISION=unversioned
ARG BASE
LABEL org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.base.name=${BASE}

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
ENV MPLCONFIGDIR=/data/matplotlib NUMBA_CACHE_DIR=/data/numba
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "serving.worker"]
COPY --from=serving-code /app /app
ARG REVISION=unversioned
ARG BASE
LABEL org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.base.name=${BASE}

FROM base AS serving
COPY --from=serving-packages /opt/venv /opt/venv
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-Ic", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "serving.server", "--host", "0.0.0.0", "--no-worker"]
COPY --from=serving-code /app /app
ARG REVISION=unversioned
ARG BASE
LABEL org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.base.name=${BASE}
