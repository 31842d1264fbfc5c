package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/infra/local/host/app"
	"github.com/company/order-catalog-service/infra/local/host/route"
)

// What the real host's server takes.
const (
	maxRequestLine = 8 << 10
	maxHeaderBytes = 32 << 10
	maxHeaderLines = 100
	maxBody        = 100 << 20
)

// hostVersion is the version that was observed.
const hostVersion = "4.1037.0.0"

// invocation is one call of a function, whoever makes it.
type invocation struct {
	id       string
	function string
	path     string   // as the handler is to see it
	refused  bool     // a header the real host's client can't send
	trailers []string // that the handler's answer announced
	process  atomic.Pointer[process]
}

type invocationKey struct{}

func invocationOf(ctx context.Context) *invocation {
	in, _ := ctx.Value(invocationKey{}).(*invocation)
	return in
}

// sentTo notes where the invocation is, for the case that it takes too long.
func (in *invocation) sentTo(p *process) {
	if in != nil {
		in.process.Store(p)
	}
}

var errFunctionTimeout = errors.New("took longer than functionTimeout; the handler is killed")

// bound ends an invocation, and with it the handler, when it takes longer than functionTimeout and the grace after it.
func (j *job) bound(in *invocation, cancel context.CancelCauseFunc) (done func()) {
	limit := j.app.FunctionTimeout
	if limit == 0 {
		return func() {}
	}
	timer := time.AfterFunc(limit+j.host.options.Limits.Grace, func() {
		cancel(errFunctionTimeout)
		j.handler.timeOut(in.process.Load(), in.function)
	})
	return func() { timer.Stop() }
}

// ServeHTTP implements http.Handler: what the real host refuses itself, its own pages, then the functions in the
// order of their names.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.inFlight.begin()
	defer h.inFlight.end()
	j := h.job.Load()
	status, encoded := check(r)
	if status != 0 && status != http.StatusInternalServerError {
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
		return
	}
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(raw, "/") {
		if raw = r.URL.EscapedPath(); !strings.HasPrefix(raw, "/") {
			raw = "/" + raw
		}
	}
	path := decodePath(raw)
	if j.serveAdmin(w, r, path) {
		return
	}
	if hasPrefixFold(path, "/runtime/webhooks/") {
		j.answer(w, http.StatusUnauthorized) // extensions' own endpoints: nobody has their key
		return
	}
	f := j.match(r.Method, path)
	switch {
	case f == nil && path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		j.answer(w, http.StatusNoContent)
	case f == nil || r.RequestURI == "*":
		j.answer(w, http.StatusNotFound)
	case r.ContentLength > maxBody:
		w.Header().Set("Connection", "close")
		j.answer(w, http.StatusInternalServerError)
	default:
		j.serveFunction(w, r, &invocation{id: uuid.NewString(), function: f.Name, path: encodePath(path), refused: encoded})
	}
}

// check applies the limits of the real host's server. Text beyond ASCII in a header is refused at once unless it is
// UTF-8; that passes the server and then can't be sent on.
func check(r *http.Request) (status int, notASCII bool) {
	if len(r.Method)+len(r.RequestURI)+len("  HTTP/1.1\r\n") > maxRequestLine {
		return http.StatusRequestURITooLong, false
	}
	size, lines := len("Host: \r\n")+len(r.Host), 1
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
			lines++
			if !isASCII(value) {
				notASCII = true
				if !utf8.ValidString(value) {
					return http.StatusBadRequest, true
				}
			}
		}
	}
	if size > maxHeaderBytes || lines > maxHeaderLines {
		return http.StatusRequestHeaderFieldsTooLarge, notASCII
	}
	return 0, notASCII
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func hasPrefixFold(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix)
}

// match finds the first function, by name, whose route and methods fit.
func (j *job) match(method, path string) *app.Function {
	segments := route.Split(path)
	for i := range j.app.Functions {
		t := j.app.Functions[i].HTTP
		if t != nil && t.Takes(method) && t.Route.Match(segments) {
			return &j.app.Functions[i]
		}
	}
	return nil
}

// answer is an empty answer of the host itself.
func (j *job) answer(w http.ResponseWriter, status int) {
	j.decorate(w.Header())
	w.WriteHeader(status)
}

// decorate adds what the real host adds where the handler said nothing.
func (j *job) decorate(header http.Header) {
	for name, value := range j.app.CustomHeaders {
		if len(header.Values(name)) == 0 {
			header.Set(name, value)
		}
	}
	if len(header["Server"]) == 0 {
		header["Server"] = []string{"Kestrel"}
	}
}

func (j *job) serveFunction(w http.ResponseWriter, r *http.Request, in *invocation) {
	switch {
	case r.ContentLength > 0:
		// The real host reads a body of known length whole before it calls the handler.
		body := bytes.NewBuffer(make([]byte, 0, min(r.ContentLength, 1<<20)+bytes.MinRead))
		if _, err := body.ReadFrom(r.Body); err != nil {
			j.answer(w, http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(body)
		r.Header.Del("Expect") // kept by reading
	case r.ContentLength < 0:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), invocationKey{}, in))
	defer cancel(nil)
	defer j.bound(in, cancel)()
	if _, err := j.handler.await(ctx, in); err != nil {
		if errors.Is(err, ErrCrashed) {
			// The host goes down under who waited for a handler that never came: the connection ends without an answer.
			j.logFailure(in, err)
			panic(http.ErrAbortHandler)
		}
		j.failed(w, in, err)
		return
	}
	w.Header()["Content-Type"] = nil // the handler's or none: never a guess
	defer func() {
		if cut := recover(); cut != nil {
			// The handler died over its answer. What it had written is the client's before the connection breaks; a
			// failure to send it changes nothing.
			_ = http.NewResponseController(w).Flush()
			panic(cut)
		}
	}()
	j.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// failed answers an invocation that has no answer: an empty 500.
func (j *job) failed(w http.ResponseWriter, in *invocation, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, errNoActivity) {
		status = http.StatusGatewayTimeout
	}
	if !errors.Is(err, context.Canceled) {
		j.logFailure(in, err)
	}
	j.answer(w, status)
}

func (j *job) logFailure(in *invocation, err error) {
	j.log("Function."+in.function, slog.LevelError, fmt.Sprintf("Executed 'Functions.%s' (Failed)", in.function),
		slog.String("invocation", in.id), slog.Any("error", err))
}

// serveAdmin answers the pages of the host that a local user or a probe may want. What it doesn't know may still
// belong to a function.
func (j *job) serveAdmin(w http.ResponseWriter, r *http.Request, path string) bool {
	if !hasPrefixFold(path, "/admin/") {
		return false
	}
	get, post := r.Method == http.MethodGet, r.Method == http.MethodPost
	switch what := strings.ToLower(strings.TrimSuffix(path, "/")); {
	case what == "/admin/host/ping" && (get || post):
		// Says nothing about the handler: 200 while it is starting or dead, too.
		w.Header().Set("Cache-Control", "no-store,no-cache")
		w.Header().Set("Pragma", "no-cache")
		j.answer(w, http.StatusOK)
	case what == "/admin/host/status" && get:
		j.answerStatus(w)
	case strings.HasPrefix(what, "/admin/functions/") && post:
		j.runByHand(w, r, path[len("/admin/functions/"):])
	default:
		return false
	}
	return true
}

func (j *job) answerStatus(w http.ResponseWriter) {
	text, err := json.Marshal(map[string]any{
		"id": "local", "state": "Running", "version": hostVersion, "versionDetails": hostVersion, "platformVersion": "",
		"instanceId": "", "computerName": "", "processUptime": time.Since(j.started).Milliseconds(),
		"functionAppContentEditingState": "Unknown",
	})
	if err != nil {
		j.answer(w, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	j.decorate(w.Header())
	// A client that is gone is the one reason for an error.
	_, _ = w.Write(text)
}

// runByHand starts a timer's function now and answers 202 at once, as the portal's Run button does.
func (j *job) runByHand(w http.ResponseWriter, r *http.Request, name string) {
	refuse := func(status int, why string) {
		j.decorate(w.Header())
		http.Error(w, why, status)
	}
	var body struct {
		Input *string `json:"input"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		refuse(http.StatusBadRequest, `the body must be {"input": "text"} or nothing`)
		return
	}
	f, err := j.function(name)
	if err != nil {
		j.answer(w, http.StatusNotFound)
		return
	}
	if f.Timer == nil {
		refuse(http.StatusBadRequest, "only timers are run by hand here: call an HTTP function by its route, and send a message for the others")
		return
	}
	if j.listening.Err() != nil {
		refuse(http.StatusServiceUnavailable, "the host is stopping")
		return
	}
	j.goInBackground("run of "+f.Name, func() { newTimer(j, f.Name, f.Timer).runByHand(j.ctx, body.Input) })
	j.answer(w, http.StatusAccepted)
}
