package main

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/telemetry"
)

// connected is the process with its secrets from the configuration alone.
func connected(t *testing.T, c config, logger *slog.Logger) *service {
	t.Helper()
	a, err := open(t.Context(), c, logger, nil)
	require.NoError(t, err)
	s, err := wire(t.Context(), c, a, &telemetry.Telemetry{Logger: logger, Page: http.NotFoundHandler()})
	require.NoError(t, err)
	return s
}
