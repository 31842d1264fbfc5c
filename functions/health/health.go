// Package health answers probes, in the form of draft-inadarei-api-health-check-06.
//
// A dependency that all instances share is no reason to take instances away: without Redis everything works,
// without PostgreSQL cached products are still shown. So readiness warns then, and fails only for what is this
// process's own: it has not started up, or it is about to stop.
package health

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/rest"
)

// Check is one dependency.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// Probes is what the endpoints tell.
type Probes struct {
	checks   []Check
	state    func() State
	detailed func(*http.Request) bool

	mu      sync.Mutex
	asked   time.Time
	results map[string]string
}

// State is where the process is in its life.
type State string

// The states, in order.
const (
	Starting State = "starting" // the schema is not checked yet
	Serving  State = "serving"
	Draining State = "draining" // asked to stop
)

const (
	budget = 500 * time.Millisecond // for asking all dependencies
	recent = time.Second            // within which an answer is used again: probes must not become load
)

// New makes the probes. detailed says who may see the checks one by one.
func New(state func() State, detailed func(*http.Request) bool, checks ...Check) *Probes {
	return &Probes{checks: checks, state: state, detailed: detailed}
}

// Register serves the probes below /health.
func Register(api *rest.API, p *Probes) {
	for _, probe := range []struct {
		name, summary, fail string
		serve               http.HandlerFunc
	}{
		{"live", "Tell that the process runs", "", p.Live},
		{"ready", "Tell whether requests should come here", "Starting, or about to stop", p.Ready},
		{"startup", "Tell whether the process has come up", "Waiting for the database schema", p.Startup},
	} {
		page := rest.Page{
			ID: "health-" + probe.name, Path: "/health/" + probe.name, Tag: "Operations", Summary: probe.summary,
			Answers: map[int]string{http.StatusOK: "Yes; warn when something it uses is away"}, ContentType: mediaType, Body: report{},
		}
		if probe.fail != "" {
			page.Answers[http.StatusServiceUnavailable] = probe.fail
		}
		api.Internal(page, probe.serve)
	}
}

const mediaType = "application/health+json"

type report struct {
	Status string             `json:"status" enum:"pass,warn,fail"`
	Output string             `json:"output,omitempty" doc:"Why it fails"`
	Checks map[string][]check `json:"checks,omitempty" doc:"What it uses, one by one; for admins"`
}

type check struct {
	Status string `json:"status" enum:"pass,fail"`
}

// Live says that the process runs. It asks nobody.
func (p *Probes) Live(w http.ResponseWriter, r *http.Request) {
	send(w, r, http.StatusOK, report{Status: "pass"})
}

// Startup says whether the process has come up.
func (p *Probes) Startup(w http.ResponseWriter, r *http.Request) {
	if p.state() == Starting {
		send(w, r, http.StatusServiceUnavailable, report{Status: "fail", Output: "waiting for the database schema"})
		return
	}
	send(w, r, http.StatusOK, report{Status: "pass"})
}

// Ready says whether requests should come here.
func (p *Probes) Ready(w http.ResponseWriter, r *http.Request) {
	if state := p.state(); state != Serving {
		send(w, r, http.StatusServiceUnavailable, report{Status: "fail", Output: string(state)})
		return
	}
	doc := report{Status: "pass", Checks: make(map[string][]check)}
	for name, status := range p.ask(r.Context()) {
		if status != "pass" {
			doc.Status = "warn"
		}
		doc.Checks[name] = []check{{Status: status}}
	}
	if !p.detailed(r) {
		doc.Checks = nil
	}
	send(w, r, http.StatusOK, doc)
}

// ask asks all dependencies at once, at most once a second however many probes come.
func (p *Probes) ask(ctx context.Context) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) < recent {
		return p.results
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	defer cancel()
	type result struct{ name, status string }
	answers := make(chan result, len(p.checks))
	for _, c := range p.checks {
		background.Go("probe of "+c.Name, func() {
			status := "fail"
			defer func() { answers <- result{c.Name, status} }()
			if c.Ask(ctx) == nil {
				status = "pass"
			}
		})
	}
	results := make(map[string]string, len(p.checks))
	for range p.checks {
		r := <-answers
		results[r.name] = r.status
	}
	p.asked, p.results = time.Now(), results
	return results
}

func send(w http.ResponseWriter, r *http.Request, status int, doc report) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(doc) // a probe that left is nobody to tell
	}
}
