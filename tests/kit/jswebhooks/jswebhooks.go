// Package jswebhooks verifies deliveries with the published Standard Webhooks library for JavaScript, in a process
// of its own: a receiver that shares no line with us.
package jswebhooks

import (
	"embed"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit/npm"
)

//go:embed package.json package-lock.json verify.js
var files embed.FS

// Delivery is what a receiver has in its hands.
type Delivery struct {
	Key    string // whsec_ or whpk_
	Header http.Header
	Body   []byte
}

// Verify answers, for each delivery, "" where it is verified and else what the library says. Without node and npm
// the test is skipped, except in CI, which has both.
func Verify(t *testing.T, deliveries ...Delivery) []string {
	t.Helper()
	type one struct {
		Key     string            `json:"key"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
	}
	input := make([]one, 0, len(deliveries))
	for _, d := range deliveries {
		headers := map[string]string{}
		for name := range d.Header {
			headers[strings.ToLower(name)] = d.Header.Get(name) // as Node's http module has them
		}
		input = append(input, one{d.Key, headers, d.Body})
	}
	var verdicts []string
	project := npm.Project{Name: "jswebhooks", Files: files, Proves: "JavaScript receivers verify our signatures"}
	project.Run(t, "verify.js", input, &verdicts)
	require.Len(t, verdicts, len(deliveries))
	return verdicts
}
