# The image of all Airflow services in docker-compose.yaml.
#
#   docker build --tag review-scoring:cpu .
#   docker build --tag review-scoring:cuda --build-arg TORCH_BUILD=cuda .    # several GB; for GPU workers
#
# The base is python:slim, not apache/airflow: requirements.txt pins the tested versions of Airflow, its providers and all
# dependencies. apache/airflow contains the packages of Airflow's constraints and dozens of providers. pip would replace
# many of them, with a combination of versions that neither Airflow nor this project has tested.
ARG PYTHON=3.12.12-slim-bookworm

FROM python:${PYTHON} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /uv && grep '^uv==' requirements.txt >uv.txt && /uv/bin/pip install --no-cache-dir -r uv.txt
COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN /uv/bin/uv build --wheel --out-dir /wheel

FROM python:${PYTHON}
ARG TORCH_BUILD=cpu
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_SYSTEM_PYTHON=1
WORKDIR /opt/airflow
# One layer each, the least frequently changed first: torch, the other packages, this package.
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    torch=$(grep '^torch==' /tmp/requirements.txt); \
    case "$TORCH_BUILD" in \
        cpu) /uv/bin/uv pip install --index-url https://download.pytorch.org/whl/cpu "$torch" ;; \
        cuda) /uv/bin/uv pip install "$torch" ;; \
        *) echo "TORCH_BUILD is '$TORCH_BUILD'; it must be cpu or cuda" >&2; exit 1 ;; \
    esac
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=bind,source=pyproject.toml,target=/tmp/pyproject.toml \
    /uv/bin/uv pip install --constraint /tmp/requirements.txt -r /tmp/pyproject.toml \
        --extra inference --extra benchmark --extra postgres --extra mysql --extra duckdb --extra celery \
        --extra openlineage --extra statsd
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,from=build,source=/wheel,target=/wheel \
    /uv/bin/uv pip install --no-deps /wheel/*.whl
# A volume gets the owner of the image's folder that it is mounted on. The empty airflow.cfg keeps Airflow from writing
# one: all settings come from the environment, and the file system is read-only.
RUN groupadd --gid 50000 airflow \
    && useradd --uid 50000 --gid airflow --home-dir /opt/airflow --no-create-home airflow \
    && install --directory --owner airflow --group airflow logs models \
    && touch airflow.cfg
COPY --chmod=0755 deploy/api-server deploy/healthy deploy/init /opt/review_scoring/
COPY dags dags
COPY plugins plugins
USER 50000:50000
CMD ["airflow", "version"]
