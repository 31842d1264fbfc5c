# The same package in a container, for Container Apps and AKS: the Functions host comes with the image, the handler and its
# functions are what `make package` stages. docs/architecture.md says when to prefer it to Flex Consumption.
#
#   docker build --build-arg VERSION=$(git rev-parse --short=12 HEAD) -t order-catalog .
#   docker run -p 8080:80 --env-file settings.env order-catalog
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go run -trimpath ./infra/local package --version "${VERSION}"

FROM mcr.microsoft.com/azure-functions/dotnet:4
ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true \
    AzureWebJobsDisableHomepage=true \
    FUNCTIONS_WORKER_RUNTIME=custom
COPY --from=build /src/dist /home/site/wwwroot
EXPOSE 80
