// Package faults makes a handler fail where a test says. It is compiled into handlers of tests only.
package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// dir is where the test says what to do, and reads what was done.
var dir = os.Getenv("FAULTS")

// What a request's X-Correlation-ID begins with to be one of these.
const (
	panics     = "panic"
	unanswered = "unanswered"
)

func note(format string, args ...any) {
	file, err := os.OpenFile(filepath.Join(dir, "notes"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // no test is looking
	}
	defer file.Close()
	fmt.Fprintf(file, format+"\n", args...)
}

func asked(name string) bool {
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// Operation is called at the bottom of an operation.
func Operation(id, correlation string) {
	if strings.HasPrefix(correlation, panics) {
		note("operation %s %s", id, correlation)
		panic("on purpose, in " + id)
	}
}

// Page is Operation for what isn't one.
func Page(pattern string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Operation(pattern, r.Header.Get("X-Correlation-Id"))
		h.ServeHTTP(w, r)
	})
}

// Trigger is called before a trigger's work.
func Trigger(function string) {
	if asked("trigger-" + function) {
		note("trigger %s", function)
		_ = os.Remove(filepath.Join(dir, "trigger-"+function))
		panic("on purpose, in " + function)
	}
}

// Begin is called at the start of each goroutine.
func Begin(name string) {
	if asked("goroutines") {
		note("goroutine %s", name)
		panic("on purpose, in " + name)
	}
}

// Unanswered does what a request asks for, and then closes the connection without a word.
func Unanswered(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("X-Correlation-Id"), unanswered) {
			h.ServeHTTP(w, r)
			return
		}
		kept := &silent{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(kept, r)
		note("unanswered %s %s %d", r.Header.Get("X-Correlation-Id"), r.Header.Get("X-Ms-Invocation-Id"), kept.status)
		panic(http.ErrAbortHandler)
	})
}

// silent is an answer that nobody gets.
type silent struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (s *silent) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *silent) WriteHeader(status int) { s.status = status }

// Write implements http.ResponseWriter.
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
