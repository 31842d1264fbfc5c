package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/company/order-catalog-service/infra/local/host"
)

// shownMetrics drives every kind of work once and reads /metrics: each name with its labels.
func shownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	receiver := newCustomer(t)
	receiver.register(t, readContract(t, s), w.shopToken(t))
	product, token := w.Product(t, 10).String(), w.token(t, "ada")
	for _, c := range []call{
		{method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), body: draft("ada", map[string]int{product: 1})},
		{method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), prefer: "respond-async", body: draft("ada", map[string]int{product: 1})},
		{method: http.MethodGet, path: "/api/v1/products/" + product, token: token},
		{method: http.MethodGet, path: "/api/v1/products/" + product, token: token},
	} {
		got, err := s.send(t.Context(), c)
		require.NoError(t, err)
		require.Less(t, got.status, 300, "%s", got.body)
	}
	receiver.next(t, 20*time.Second)
	receiver.next(t, 20*time.Second)
	var got reply
	require.Eventually(t, func() (settled bool) { // the receiver has a delivery before its verdict is counted
		var err error
		got, err = s.send(t.Context(), call{method: http.MethodGet, path: "/metrics"})
		return err == nil && strings.Contains(string(got.body), "webhook_deliveries_total{")
	}, 20*time.Second, 50*time.Millisecond)
	shown := map[string][]string{}
	for line := range strings.Lines(string(got.body)) {
		m := regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? `).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		labels := []string{}
		for _, l := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		shown[m[1]] = append(shown[m[1]], labels...)
	}
	return shown
}

var (
	selector = regexp.MustCompile(`\b([a-z]+(?:_[a-z0-9]+)+)\b(?:\{((?:[^}"]|"[^"]*")*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
)

// asks holds a query against what is shown.
func asks(t *testing.T, shown map[string][]string, where, query string) {
	t.Helper()
	var all []string
	asked := 0
	query = strings.NewReplacer("histogram_quantile", "", "max_over_time", "", "$__rate_interval", "5m").Replace(query)
	for _, m := range selector.FindAllStringSubmatch(query, -1) {
		asked++
		labels, there := shown[m[1]]
		if !assert.True(t, there, "%s asks for %s, which the service doesn't show", where, m[1]) {
			continue
		}
		all = append(all, labels...)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			assert.Contains(t, labels, l[1], "%s: %s has no such label", where, m[1])
		}
	}
	assert.Positive(t, asked, "%s asks for no metric: %s", where, query)
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			assert.True(t, slices.Contains(all, label), "%s: nothing it asks for has the label %s", where, label)
		}
	}
}

// A renamed metric would leave an alert that never fires, a chart that stays empty, and a query in a runbook that finds
// nothing on the night when somebody pastes it.
func TestEverythingAsksForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	shown := shownMetrics(t)

	raw, err := os.ReadFile("../../infra/alerts/service.yaml")
	require.NoError(t, err)
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &alerts))
	require.Len(t, alerts.Groups, 1)
	assert.LessOrEqual(t, len(alerts.Groups[0].Rules), 20, "Azure takes no more in a group")
	for _, rule := range alerts.Groups[0].Rules {
		asks(t, shown, rule.Alert, rule.Expr)
		page, err := os.ReadFile("../../docs/runbooks/" + rule.Annotations["runbook"] + ".md")
		require.NoError(t, err, "%s has no runbook", rule.Alert)
		assert.Contains(t, string(page), rule.Alert, "its runbook does not know it")
	}

	boards, err := filepath.Glob("../../infra/dashboards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, boards)
	for _, file := range boards {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(raw, &board))
		for _, panel := range board.Panels {
			require.NotEmpty(t, panel.Targets, panel.Title)
			for _, target := range panel.Targets {
				asks(t, shown, filepath.Base(file)+": "+panel.Title, target.Expr)
			}
		}
	}

	books, err := filepath.Glob("../../docs/runbooks/*.md")
	require.NoError(t, err)
	require.Greater(t, len(books), 8)
	block := regexp.MustCompile("(?s)```promql\n(.*?)```")
	for _, file := range books {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range block.FindAllStringSubmatch(string(raw), -1) {
			for query := range strings.Lines(m[1]) {
				asks(t, shown, filepath.Base(file), query)
			}
		}
	}
}
