# docker build --tag poolbudget .
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE requirements-operator.txt ./
COPY operator operator
RUN python -m venv /opt/poolbudget \
 && /opt/poolbudget/bin/pip install --no-cache-dir --require-hashes --requirement requirements-operator.txt \
 && /opt/poolbudget/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/poolbudget /opt/poolbudget
USER 65532:65532
ENTRYPOINT ["/opt/poolbudget/bin/poolbudget"]
CMD ["run"]
