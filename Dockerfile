# A service image: prismrec from its packages, and a run that is mounted at /run-data.
#   docker build -t prismrec . && docker run -p 8080:8080 -v ./runs/ml:/run-data prismrec
FROM node:22-bookworm-slim AS build
# The base image's Debian decides which versions these are.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ ninja-build \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV PRISMREC_REQUIRE_NATIVE=1
RUN npm install --no-audit --no-fund \
    && npm run build \
    && npm run pack -- /tarballs
WORKDIR /app
RUN npm install --no-audit --no-fund --ignore-scripts /tarballs/*.tgz

FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app ./
# The image's own user, node.
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:8080/health/ready').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "node_modules/prismrec/bin/prismrec.js"]
CMD ["serve", "/run-data", "--host", "0.0.0.0", "--port", "8080"]
