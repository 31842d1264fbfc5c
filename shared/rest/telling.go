package rest

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
)

// worthTelling tells whether a request gets a span and a line. Probes, scrapes and pages don't; triggers have their own.
func worthTelling(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/graphql"
}

// warm is true once a request was told of.
var warm atomic.Bool

// Note adds to the request's line in the log, where there is one. No value may be a person's: ids, counts and kinds are
// what is looked for.
func (c *Call) Note(a slog.Attr) {
	if c.wide {
		c.notes = append(c.notes, a)
	}
}

// Invocation is the host's id of the request, "" without a host.
func (c *Call) Invocation() string {
	for _, name := range [...]string{"X-Azure-Functions-Invocationid", "X-Ms-Invocation-Id"} {
		if values := c.about[name]; len(values) == 1 {
			id := values[0][strings.LastIndexByte(values[0], ' ')+1:] // the host puts its own behind what a client sends
			if _, err := uuid.Parse(id); err == nil {
				return id
			}
		}
	}
	return ""
}

// tell ends the request's span and writes its line: one of each for a request, with all that is known at its end.
func (c *Call) tell(logger *slog.Logger, r *http.Request, status int, began time.Time, panicked bool) {
	if c.entry != nil {
		failure := ""
		switch {
		case panicked:
			failure = "panic"
		case status >= http.StatusInternalServerError:
			failure = strconv.Itoa(status)
		}
		c.form.End()
		c.entry.End(c.spanName(r.Method), failure, func() []attribute.KeyValue { return c.attributes(r, status) })
	}
	if c.wide {
		attrs := []slog.Attr{
			slog.String("method", r.Method), slog.String("route", c.route), slog.Int("status", status),
			slog.String("operation", c.Operation), slog.String("correlation_id", c.Correlation),
			slog.Float64("duration_ms", float64(time.Since(began).Microseconds())/1000),
		}
		if c.Caller.Key() != uuid.Nil {
			attrs = append(attrs, slog.String("caller", c.Caller.Key().String())) // a digest: no name, no address
		}
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request", append(attrs, c.notes...)...)
	}
}

// spanName is method and route; a path that no route takes is not in it, as anybody can make up any number.
func (c *Call) spanName(method string) string {
	if !standard(method) {
		method = "HTTP"
	}
	if c.route != "" {
		return method + " " + c.route
	}
	return method
}

func (c *Call) attributes(r *http.Request, status int) []attribute.KeyValue {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	list := []attribute.KeyValue{
		attribute.String("url.path", c.path), attribute.String("url.scheme", scheme),
		attribute.Int("http.response.status_code", status),
		attribute.String("faas.trigger", "http"), attribute.Bool("faas.coldstart", warm.CompareAndSwap(false, true)),
		attribute.String("app.correlation_id", c.Correlation), attribute.String("app.operation", c.Operation),
	}
	if standard(r.Method) {
		list = append(list, attribute.String("http.request.method", r.Method))
	} else {
		original := strings.ToValidUTF8(r.Method, "?")
		list = append(list, attribute.String("http.request.method", "_OTHER"), attribute.String("http.request.method_original", original[:min(len(original), 32)]))
	}
	if c.route != "" {
		list = append(list, attribute.String("http.route", c.route))
	}
	if id := c.Invocation(); id != "" {
		list = append(list, attribute.String("faas.invocation_id", id))
	}
	return list
}

// routeOf is the path of a router's pattern, "" for none.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	return pattern
}

func standard(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	default:
		return false
	}
}
