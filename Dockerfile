# A trained model behind HTTP, on a CPU. docs/serving.md says how to run it.
FROM python:3.13-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/foveal
WORKDIR /build
RUN pip install --no-cache-dir uv==0.9.* && uv venv "$VIRTUAL_ENV"
COPY pyproject.toml uv.lock README.md LICENSE NOTICE ./
# PyPI's torch brings 5 GB of CUDA libraries: the same version is taken from PyTorch's index for CPUs.
RUN uv export --locked --no-dev --extra serve --no-emit-project --no-hashes --output-file requirements.txt \
 && uv pip install --torch-backend cpu --requirement requirements.txt
COPY src src
RUN uv pip install --no-deps .

FROM python:3.13-slim
RUN useradd --system --no-create-home --uid 10001 foveal \
 && install -d -o foveal -g foveal /cache /state
COPY --from=build /opt/foveal /opt/foveal
# Nothing else is written, so the root file system can be read-only. HOME is where matplotlib would keep its fonts.
ENV PATH=/opt/foveal/bin:$PATH PYTHONDONTWRITEBYTECODE=1 FOVEAL_CACHE=/cache FOVEAL_STATE=/state HOME=/tmp
VOLUME ["/cache", "/state"]
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["foveal", "serve", "/model", "--host", "0.0.0.0"]
