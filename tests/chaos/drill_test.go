package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// drill is a fault made on purpose, and the runbook that is followed against it.
type drill struct {
	runbook, fault string
	alerts         []string              // that must fire
	harm           func(*theatre) func() // makes the fault; the result mends it, as the runbook says
	mended         string                // what the mending was, for the report
}

// theatre is a stack under load that a Prometheus looks at.
type theatre struct {
	*scene
	prometheus string // its address
	report     strings.Builder
}

// Alerts wait for minutes, so that nobody is woken for a moment; a drill has seconds. Thresholds stay as they are.
var (
	patient = regexp.MustCompile(`(?m)^(\s+for:) \S+$`)
	windows = regexp.MustCompile(`\[[0-9]+m\]`)
	earlier = regexp.MustCompile(`offset [0-9]+m`)
)

// TestTheRunbooksAreFollowed makes each runbook's fault while clients order, and sees that its alert fires, that its queries
// show something, and that with the runbook's actions the alert ends. Its report is docs/runbooks/drill.md.
func TestTheRunbooksAreFollowed(t *testing.T) {
	binary := os.Getenv("PROMETHEUS")
	if binary == "" {
		t.Skip("PROMETHEUS is the program to evaluate alerts with: make drill")
	}
	s := open(t, options{})
	th := &theatre{scene: busy(t, s)}
	th.watch(t, binary)
	require.Eventually(t, func() bool { return len(th.ask(t, `up == 1`)) == hosts }, time.Minute, time.Second, "Prometheus does not see the handlers")
	time.Sleep(20 * time.Second) // a usual for the rates to be of
	require.Empty(t, th.firing(t), "nothing is wrong yet")
	for _, d := range drills() {
		t.Run(d.runbook, func(t *testing.T) { th.follow(t, d) })
	}
	if name := os.Getenv("DRILL_OUT"); name != "" {
		require.NoError(t, os.WriteFile(name, []byte(th.header()+th.report.String()), 0o644))
	}
}

func drills() []drill {
	poison := func(store, kind string, attributes map[string]any) func(*theatre) func() {
		return func(th *theatre) func() {
			for _, n := range th.hosts {
				require.NoError(th.t, n.poison(store, kind, "downstream", attributes))
			}
			return func() {
				for _, n := range th.hosts {
					n.heal(store)
				}
			}
		}
	}
	return []drill{
		{
			runbook: "redis-down", fault: "Redis is killed", alerts: []string{"RedisAway"}, mended: "Redis is started again, empty",
			harm: func(th *theatre) func() { th.redis.Kill(); return th.startRedis },
		},
		{
			runbook: "database-down", fault: "PostgreSQL is killed", alerts: []string{"DatabaseAway", "HighErrorRate"}, mended: "PostgreSQL is started again",
			harm: func(th *theatre) func() { th.postgres.Kill(); return th.startPostgres },
		},
		{
			runbook: "errors", fault: "PostgreSQL's answers stop coming, its connections stay open", alerts: []string{"HighErrorRate"}, mended: "the network lets them through again",
			harm: poison("postgres", "timeout", map[string]any{"timeout": 0}),
		},
		{
			runbook: "high-latency", fault: "each answer of PostgreSQL takes 200 ms more", alerts: []string{"HighP95Latency"}, mended: "the network is as fast as before",
			harm: poison("postgres", "latency", map[string]any{"latency": 200}),
		},
		{
			runbook: "outbox-backlog", fault: "Service Bus is killed", alerts: []string{"OutboxBacklog", "OutboxStalled"}, mended: "Service Bus is back",
			harm: func(th *theatre) func() { th.broker.Stop(syscall.SIGKILL, time.Second); return th.startBroker },
		},
		{
			runbook: "dead-letters", fault: "somebody sends what is no order request to our queue", alerts: []string{"DeadLetters"}, mended: "it is read at the operations API, and discarded with a reason",
			harm: func(th *theatre) func() { th.sendNonsense(); return th.discardAll },
		},
		{
			runbook: "duplicate-orders", fault: "a client sends each order thirty times at once, while the database is slow", alerts: []string{"ConflictStorm"}, mended: "the client stops",
			harm: func(th *theatre) func() {
				calm := poison("postgres", "latency", map[string]any{"latency": 150})(th)
				stop := th.storm(30, func() string { return fmt.Sprint("again-", time.Now().UnixMilli()/500) }) // each half second another order
				return func() { stop(); calm() }
			},
		},
		{
			runbook: "hot-product", fault: "six hundred clients want the same product, while the database is slow", alerts: []string{"HotProduct"}, mended: "the rush ends",
			harm: func(th *theatre) func() {
				calm := poison("postgres", "latency", map[string]any{"latency": 100})(th)
				stop := th.storm(600, th.client.key)
				return func() { stop(); calm() }
			},
		},
		{
			runbook: "webhook-storm", fault: "an endpoint says that it is gone (410)", alerts: []string{"EndpointDisabled"}, mended: "its owner enables it again, and it answers",
			harm: func(th *theatre) func() { return th.goneEndpoint() },
		},
	}
}

// follow is one drill, from the fault to the end of its alerts.
func (th *theatre) follow(t *testing.T, d drill) {
	t.Helper()
	const limit = 4 * time.Minute
	raw, err := os.ReadFile("../../docs/runbooks/" + d.runbook + ".md")
	require.NoError(t, err)
	queries := promql(string(raw))
	require.NotEmpty(t, queries)
	before := th.answers(t, queries)
	began := time.Now()
	mend := sync.OnceFunc(d.harm(th))
	defer mend()
	seen := map[string]time.Duration{}
	require.Eventually(t, func() bool {
		for _, name := range th.firing(t) {
			if _, ok := seen[name]; !ok {
				seen[name] = time.Since(began)
			}
		}
		return !slices.ContainsFunc(d.alerts, func(name string) bool { _, ok := seen[name]; return !ok })
	}, limit, time.Second, "of %v only %v fired", d.alerts, seen)
	during := th.answers(t, queries)
	mend()
	mended := time.Now()
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(th.firing(t), func(name string) bool { return slices.Contains(d.alerts, name) })
	}, limit, time.Second, "it does not end")
	over := time.Since(mended)
	for end := time.Now().Add(30 * time.Second); len(th.firing(t)) > 0 && time.Now().Before(end); {
		time.Sleep(time.Second) // what the fault left behind, for the next drill to begin without it
	}
	after := th.answers(t, queries)
	th.tell(d, string(raw), seen, over, queries, before, during, after)
}

// tell adds a drill to the report.
func (th *theatre) tell(d drill, page string, seen map[string]time.Duration, over time.Duration, queries []string, before, during, after map[string]string) {
	w := &th.report
	fmt.Fprintf(w, "\n## [%s](%s.md)\n\n**Fault.** %s.\n**Mended.** %s.\n\n", d.runbook, d.runbook, capital(d.fault), capital(d.mended))
	names := slices.SortedFunc(maps.Keys(seen), func(a, b string) int { return int(seen[a] - seen[b]) })
	for _, name := range names {
		also := ""
		if !strings.Contains(page, name) {
			also = " (another page's)"
		}
		fmt.Fprintf(w, "- %s%s fired %.0f s after the fault.\n", name, also, seen[name].Seconds())
	}
	fmt.Fprintf(w, "- This page's ended %.0f s after the mending.\n", over.Seconds())
	if left := th.firing(th.t); len(left) > 0 {
		fmt.Fprintf(w, "- Still firing half a minute later, for what had piled up: %s.\n", strings.Join(left, ", "))
	}
	fmt.Fprint(w, "\n| query | before | during | after |\n|---|---|---|---|\n")
	for _, q := range queries {
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", strings.ReplaceAll(q, "|", `\|`), before[q], during[q], after[q])
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (th *theatre) header() string {
	return `# The drill

Written by ` + "`make drill`" + ` (` + time.Now().Format("2 January 2006") + `): each runbook's fault was made on purpose while twelve clients ordered over two hosts, and its actions
were taken. Alerts are those of ` + "`infra/alerts/service.yaml`" + `, with the same thresholds; to save the reader's time they looked at 15 seconds where
they look at minutes, and waited 2 seconds before they fired. The queries are the runbooks' own, as pasted: their windows of five minutes
still remember the drills before.
`
}

// promql are the queries of a page.
func promql(page string) (list []string) {
	for _, m := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(m[1]) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// watch starts a Prometheus that reads both handlers each second and evaluates the alerts.
func (th *theatre) watch(t *testing.T, binary string) {
	t.Helper()
	rules, err := os.ReadFile("../../infra/alerts/service.yaml")
	require.NoError(t, err)
	hasty := earlier.ReplaceAllString(windows.ReplaceAllString(patient.ReplaceAllString(string(rules), "$1 2s"), "[15s]"), "offset 15s")
	dir := t.TempDir()
	var targets []string
	for _, n := range th.hosts {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", n.port))
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\n"+
		"scrape_configs: [{job_name: handlers, static_configs: [{targets: %q}]}]\n", targets)
	config = strings.ReplaceAll(config, `" "`, `", "`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(hasty), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o600))
	port, err := child.FreePort()
	require.NoError(t, err)
	th.prometheus = fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+th.prometheus, "--log.level=error")
	cmd.Stderr = os.Stderr
	p, err := child.Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	t.Cleanup(func() { p.Stop(syscall.SIGKILL, time.Second) })
	require.NoError(t, p.WaitFor(port, time.Minute))
	require.Eventually(t, func() bool {
		res, err := http.Get("http://" + th.prometheus + "/-/ready")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond, "Prometheus does not get ready")
}

// get asks Prometheus' API.
func (th *theatre) get(t *testing.T, path string, into any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+th.prometheus+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode, path)
	require.NoError(t, json.NewDecoder(res.Body).Decode(into))
}

// firing are the names of the alerts that fire.
func (th *theatre) firing(t *testing.T) (names []string) {
	t.Helper()
	var out struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	th.get(t, "/api/v1/alerts", &out)
	for _, a := range out.Data.Alerts {
		if a.State == "firing" && !slices.Contains(names, a.Labels["alertname"]) {
			names = append(names, a.Labels["alertname"])
		}
	}
	return names
}

// sample is one value of a query's result.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (th *theatre) ask(t *testing.T, query string) []sample {
	t.Helper()
	var out struct{ Data struct{ Result []sample } }
	th.get(t, "/api/v1/query?query="+url.QueryEscape(query), &out)
	return out.Data.Result
}

// answers are what queries show, in a table's cell.
func (th *theatre) answers(t *testing.T, queries []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, q := range queries {
		var cells []string
		for _, s := range th.ask(t, q) {
			var labels []string
			for _, name := range slices.Sorted(maps.Keys(s.Metric)) {
				labels = append(labels, s.Metric[name])
			}
			var value float64
			_, err := fmt.Sscan(fmt.Sprint(s.Value[1]), &value)
			require.NoError(t, err, q)
			cells = append(cells, strings.TrimSpace(strings.Join(labels, " ")+fmt.Sprintf(" %.3g", value)))
		}
		slices.Sort(cells)
		if len(cells) > 8 {
			cells = append(cells[:8], "…")
		}
		if all[q] = strings.Join(cells, "<br>"); all[q] == "" {
			all[q] = "nothing"
		}
	}
	return all
}

// sendNonsense puts a message that nobody can read into the queue of order requests.
func (th *theatre) sendNonsense() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := azservicebus.NewClientFromConnectionString(standin.ConnectionString(th.ports.broker), nil)
	require.NoError(th.t, err)
	defer client.Close(ctx) //nolint:errcheck // has sent
	sender, err := client.NewSender(servicebus.QueueOrderRequests, nil)
	require.NoError(th.t, err)
	require.NoError(th.t, sender.SendMessage(ctx, &azservicebus.Message{Body: []byte("this is no order")}, nil))
}

// operate asks the operations API, and reads its answer into out.
func (th *theatre) operate(method, path string, body, out any) {
	t, c := th.t, th.client
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", th.hosts[0].port, path), bytes.NewReader(raw))
	require.NoError(t, err)
	require.NoError(t, c.authorize(req))
	if method != http.MethodGet {
		req.Header.Set("Idempotency-Key", c.key())
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Less(t, res.StatusCode, 300, "%s %s", method, path)
	if out != nil {
		require.NoError(t, json.NewDecoder(res.Body).Decode(out))
	}
}

func (th *theatre) discardAll() {
	var list struct {
		Items []struct{ ID, Reason, Body string }
	}
	th.operate(http.MethodGet, "/api/v1/ops/dead-letters", nil, &list)
	require.NotEmpty(th.t, list.Items)
	for _, letter := range list.Items {
		assert.Equal(th.t, "unreadable", letter.Reason)
		th.operate(http.MethodPost, "/api/v1/ops/dead-letters/"+letter.ID+"/discard", map[string]string{"reason": "a drill's"}, nil)
	}
}

// storm has many clients order the same product, each again as soon as it is answered, under the key that key says.
func (th *theatre) storm(clients int, key func() string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	sale := th.client.shop.products(ctx)
	require.NotEmpty(th.t, sale)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	body, err := json.Marshal(map[string]any{
		"customerId": th.client.name, "lines": []map[string]any{{"productId": sale[0], "quantity": 1}},
		"shippingAddress": map[string]any{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
	})
	require.NoError(th.t, err)
	var working sync.WaitGroup
	var mu sync.Mutex
	for range clients {
		working.Go(func() {
			for sleep(ctx, 10*time.Millisecond) {
				mu.Lock()
				k := key()
				mu.Unlock()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/api/v1/orders", th.hosts[0].port), bytes.NewReader(body))
				if err != nil || th.client.authorize(req) != nil {
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Idempotency-Key", k)
				if res, err := client.Do(req); err == nil {
					_ = res.Body.Close() // its answer is not looked at
				}
			}
		})
	}
	return func() { cancel(); working.Wait(); client.CloseIdleConnections() }
}

// goneEndpoint is an endpoint that answers 410 until it is mended.
func (th *theatre) goneEndpoint() (mend func()) {
	var mu sync.Mutex
	status := http.StatusGone
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
	}))
	th.t.Cleanup(server.Close)
	var made struct{ ID string }
	th.operate(http.MethodPost, "/api/v1/webhooks/register", map[string]any{"url": server.URL, "events": []string{"order.created.v1"}}, &made)
	return func() {
		mu.Lock()
		status = http.StatusOK
		mu.Unlock()
		th.operate(http.MethodPatch, "/api/v1/webhooks/"+made.ID, map[string]string{"status": "enabled"}, nil)
	}
}
