// Package metrics shows the process's metrics to Prometheus. The page is for the inside of the network; the
// gateway does not route it.
package metrics

import (
	"net/http"

	"github.com/company/order-catalog-service/shared/rest"
)

// Register serves page at /metrics.
func Register(api *rest.API, page http.Handler) {
	api.Internal(rest.Page{
		ID: "metrics", Path: "/metrics", Tag: "Operations", Summary: "Show the process's metrics to Prometheus",
		Answers: map[int]string{http.StatusOK: "Prometheus' text form, or OpenMetrics for who asks for it"}, ContentType: "text/plain", Body: "",
	}, page)
}
