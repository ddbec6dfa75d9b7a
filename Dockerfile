# docker build --tag poolbudget .
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE requirements.txt ./
COPY operator operator
RUN python -m venv /opt/poolbudget \
 && /opt/poolbudget/bin/pip install --no-cache-dir --constraint requirements.txt ".[operator]"

FROM python:3.13-slim
COPY --from=build /opt/poolbudget /opt/poolbudget
USER 65532:65532
ENTRYPOINT ["/opt/poolbudget/bin/poolbudget"]
CMD ["run"]
