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

type document struct {
	Status string             `json:"status"`
	Output string             `json:"output,omitempty"`
	Checks map[string][]check `json:"checks,omitempty"`
}

type check struct {
	Status string `json:"status"`
}

// Live says that the process runs. It asks nobody.
func (p *Probes) Live(w http.ResponseWriter, r *http.Request) {
	send(w, r, http.StatusOK, document{Status: "pass"})
}

// Startup says whether the process has come up.
func (p *Probes) Startup(w http.ResponseWriter, r *http.Request) {
	if p.state() == Starting {
		send(w, r, http.StatusServiceUnavailable, document{Status: "fail", Output: "waiting for the database schema"})
		return
	}
	send(w, r, http.StatusOK, document{Status: "pass"})
}

// Ready says whether requests should come here.
func (p *Probes) Ready(w http.ResponseWriter, r *http.Request) {
	if state := p.state(); state != Serving {
		send(w, r, http.StatusServiceUnavailable, document{Status: "fail", Output: string(state)})
		return
	}
	doc := document{Status: "pass", Checks: make(map[string][]check)}
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
		go func() {
			status := "fail"
			defer func() {
				if recover() != nil {
					status = "fail"
				}
				answers <- result{c.Name, status}
			}()
			if c.Ask(ctx) == nil {
				status = "pass"
			}
		}()
	}
	results := make(map[string]string, len(p.checks))
	for range p.checks {
		r := <-answers
		results[r.name] = r.status
	}
	p.asked, p.results = time.Now(), results
	return results
}

func send(w http.ResponseWriter, r *http.Request, status int, doc document) {
	w.Header().Set("Content-Type", "application/health+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(doc) // a probe that left is nobody to tell
	}
}
