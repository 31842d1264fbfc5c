package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/rest"
)

var (
	deprecated = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	brownOut   = rest.Window{From: time.Date(2027, 5, 1, 10, 0, 0, 0, time.UTC), To: time.Date(2027, 5, 1, 10, 15, 0, 0, time.UTC)}
	sunset     = time.Date(2027, 6, 30, 23, 59, 59, 0, time.UTC)
)

// leaving is a version 1 on its way out, with one operation that ends before the rest.
type leaving struct {
	*edge
	now time.Time
}

func openLeaving(t *testing.T) *leaving {
	t.Helper()
	l := &leaving{now: deprecated.Add(time.Hour)}
	l.edge = open(t, func(c *rest.Config) {
		c.Now = func() time.Time { return l.now }
		c.Retirements = []rest.Retirement{
			{
				Pattern: "/api/v1/", Name: "v1", Deprecated: deprecated, Sunset: sunset, BrownOuts: []rest.Window{brownOut},
				Docs: "/docs/versions#v1", Successor: "/api/v2/",
			},
			{Pattern: "GET /api/v1/sample", Name: "sample", Deprecated: deprecated.AddDate(1, 0, 0), Docs: "/docs/versions#sample", Successor: "/api/v1/page"},
		}
	})
	linked := func(context.Context, *struct{}) (rest.Answer, error) {
		answer, err := rest.JSON(http.StatusOK, thing{Name: "page"})
		answer.Link = `</api/v1/sample?cursor=x>; rel="next"`
		return answer, err
	}
	rest.Register(l.API, rest.Operation{ID: "sample", Method: http.MethodGet, Path: "/api/v1/sample", Tag: "T", Status: 200, Policy: &auth.CatalogRead}, linked)
	stays := func(context.Context, *struct{}) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, thing{Name: "new"})
	}
	rest.Register(l.API, rest.Operation{ID: "stays", Method: http.MethodGet, Path: "/api/v2/things", Tag: "T", Status: 200}, stays)
	return l
}

// DV-01 to DV-03: every answer of a version on its way out says so, whatever else it says, and no other answer does.
func TestDV01To03EveryAnswerAnnouncesTheEnd(t *testing.T) {
	t.Parallel()
	e := openLeaving(t)
	etag := e.ask(t, http.MethodGet, things, "").Header().Get("ETag")
	for want, w := range map[int]*httptest.ResponseRecorder{
		200: e.ask(t, http.MethodGet, things, ""), 304: e.ask(t, http.MethodGet, things, "", "If-None-Match", etag),
		204: e.ask(t, http.MethodOptions, things, ""), 400: e.ask(t, http.MethodPut, things, "{"), 401: e.ask(t, http.MethodGet, "/api/v1/secret", ""),
		404: e.ask(t, http.MethodGet, "/api/v1/nothing", ""), 405: e.ask(t, http.MethodPost, things, ""), 412: e.ask(t, http.MethodHead, things, "", "If-Match", `"x"`),
		500: e.ask(t, http.MethodGet, "/api/v1/fail/boom", ""), 503: e.ask(t, http.MethodGet, "/api/v1/fail/away", ""),
	} {
		require.Equal(t, want, w.Code)
		item, err := httpsfv.UnmarshalItem(w.Header().Values("Deprecation"))
		require.NoError(t, err, "DV-01: a structured field (RFC 9745)")
		assert.Equal(t, deprecated, item.Value.(time.Time).UTC())
		assert.Equal(t, "Wed, 30 Jun 2027 23:59:59 GMT", w.Header().Get("Sunset"), "DV-02: an HTTP date (RFC 8594)")
		assert.Equal(t, map[string]string{"deprecation": "/docs/versions#v1", "sunset": "/docs/versions#v1", "successor-version": "/api/v2/"}, links(t, w.Header()), "%d", want)
		assert.Equal(t, "1", w.Header().Get("API-Version"), "DV-05")
	}
	for _, path := range []string{"/api/v2/things", "/page/whole", "/nope"} {
		h := e.ask(t, http.MethodGet, path, "").Header()
		for _, name := range []string{"Deprecation", "Sunset", "Link", "Api-Version"} {
			assert.Empty(t, h.Values(name), path)
		}
	}
	h := open(t).ask(t, http.MethodGet, things, "").Header()
	assert.Empty(t, h.Values("Deprecation"), "with an empty table nothing is on its way out")
}

// The line of an operation rules over that of its version, links of a list stay, and without a decided end none is named.
func TestDV03AnOperationMayEndByItself(t *testing.T) {
	t.Parallel()
	e := openLeaving(t)
	token, err := e.issuer.Token("ada", "catalog:read")
	require.NoError(t, err)
	w := e.ask(t, http.MethodGet, "/api/v1/sample", "", "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, map[string]string{
		"next": "/api/v1/sample?cursor=x", "deprecation": "/docs/versions#sample", "successor-version": "/api/v1/page",
	}, links(t, w.Header()))
	assert.Empty(t, w.Header().Get("Sunset"))
	assert.Equal(t, "@1814400000", w.Header().Get("Deprecation"), "it may lie ahead")
	doc, err := e.OpenAPI()
	require.NoError(t, err)
	parsed, err := openapi3.NewLoader().LoadFromData(doc)
	require.NoError(t, err)
	assert.True(t, parsed.Paths.Value("/api/v1/sample").Get.Deprecated)
	assert.True(t, parsed.Paths.Value("/api/v1/keyed").Post.Deprecated)
	assert.NotNil(t, parsed.Paths.Value("/api/v1/keyed").Post.Responses.Value("410"))
	assert.False(t, parsed.Paths.Value("/api/v2/things").Get.Deprecated)
}

// DV-04: served until the brown-out and after it, and refused from the sunset on, to the second.
func TestDV04BrownOutsAndSunset(t *testing.T) {
	t.Parallel()
	e := openLeaving(t)
	for _, c := range []struct {
		at     time.Time
		status int
		retry  string
	}{
		{deprecated.AddDate(0, -1, 0), 200, ""},
		{brownOut.From.Add(-time.Second), 200, ""},
		{brownOut.From, 410, "901"},
		{brownOut.To.Add(-time.Second), 410, "2"},
		{brownOut.To, 200, ""},
		{sunset.Add(-time.Second), 200, ""},
		{sunset, 410, ""},
		{sunset.AddDate(5, 0, 0), 410, ""},
	} {
		e.now = c.at
		w := e.ask(t, http.MethodGet, things, "")
		require.Equal(t, c.status, w.Code, "%s", c.at)
		assert.Equal(t, "Wed, 30 Jun 2027 23:59:59 GMT", w.Header().Get("Sunset"))
		assert.Equal(t, http.StatusOK, e.ask(t, http.MethodGet, "/api/v2/things", "").Code)
		if c.status == http.StatusOK {
			continue
		}
		doc := problem(t, w, 410, "version-sunset")
		assert.Equal(t, "/api/v2/", doc["successor"])
		assert.Equal(t, c.retry, w.Header().Get("Retry-After"))
		assert.Equal(t, "/api/v2/", links(t, w.Header())["successor-version"])
		// Also what has no operation any more, so that the code can go before its callers do.
		problem(t, e.ask(t, http.MethodDelete, "/api/v1/long-gone", ""), 410, "version-sunset")
	}
}

// DV-05: a version that isn't there is not found, and never answered by another one.
func TestDV05AnUnknownVersionIsNotFound(t *testing.T) {
	t.Parallel()
	e := openLeaving(t)
	id := strings.TrimPrefix(things, "/api/v1")
	for _, path := range []string{"/api/v2" + id, "/api/v3" + id, "/api/v0" + id, "/api/v01" + id, "/api/V1" + id, "/api" + id, "/api/latest" + id} {
		problem(t, e.ask(t, http.MethodGet, path, "", "Accept-Version", "1", "API-Version", "1"), 404, "not-found")
	}
}

// DV-08: who still calls what is on its way out is counted, refused calls too.
func TestDV08UseIsCountedByClient(t *testing.T) {
	reader := metric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	e := openLeaving(t)
	token, err := e.issuer.Token("ada", "catalog:read")
	require.NoError(t, err)
	ask := func(path string, headers ...string) { e.ask(t, http.MethodGet, path, "", headers...) }
	ask("/api/v1/sample", "Authorization", "Bearer "+token)
	ask("/api/v1/sample", "Authorization", "Bearer "+token)
	ask("/api/v1/secret", "Authorization", "Bearer "+token)
	ask("/api/v1/secret")
	ask("/api/v2/things")
	e.now = sunset
	ask("/api/v1/secret", "Authorization", "Bearer "+token)
	ask("/api/v1/secret", "Authorization", "Bearer x")

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != "deprecated_requests_total" || !ok {
				continue
			}
			for _, p := range sum.DataPoints {
				series := ""
				for _, label := range p.Attributes.ToSlice() {
					series += "/" + string(label.Key) + "=" + label.Value.String()
				}
				got[series] = p.Value
			}
		}
	}
	assert.Equal(t, map[string]int64{
		"/client=local/name=sample/served=true": 2,
		"/client=local/name=v1/served=true":     1,
		"/client=none/name=v1/served=true":      1,
		"/client=local/name=v1/served=false":    1,
		"/client=none/name=v1/served=false":     1,
	}, got)
}

func TestDV02ATableThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	good := rest.Retirement{Pattern: "/api/v1/", Name: "v1", Deprecated: deprecated, Sunset: sunset, Docs: "/d", Successor: "/s"}
	for says, change := range map[string]func(*rest.Retirement){
		"its sunset is before":   func(r *rest.Retirement) { r.Sunset = deprecated.Add(-time.Second) },
		"no date of deprecation": func(r *rest.Retirement) { r.Deprecated = time.Time{} },
		"needs a name":           func(r *rest.Retirement) { r.Successor = "" },
		"each brown-out": func(r *rest.Retirement) {
			r.BrownOuts = []rest.Window{{From: sunset.Add(-time.Hour), To: sunset.Add(time.Hour)}}
		},
		"must end after it begins": func(r *rest.Retirement) { r.BrownOuts = []rest.Window{{From: brownOut.To, To: brownOut.From}} },
		"between deprecation": func(r *rest.Retirement) {
			r.BrownOuts = []rest.Window{{From: deprecated.Add(-time.Hour), To: brownOut.To}}
		},
		"reading the table":          func(r *rest.Retirement) { r.Pattern = "GET" },
		"retirement of \"/api/v1/\"": func(r *rest.Retirement) { r.Name = "" },
	} {
		bad := good
		change(&bad)
		_, err := rest.New(rest.Config{Retirements: []rest.Retirement{bad}})
		assert.ErrorContains(t, err, says)
	}
	_, err := rest.New(rest.Config{Retirements: []rest.Retirement{good, good}})
	require.ErrorContains(t, err, "reading the table")
	_, err = rest.New(rest.Config{Retirements: []rest.Retirement{good}})
	require.NoError(t, err)
}

// links reads Link (RFC 8288) into its relations.
func links(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, line := range h.Values("Link") {
		for link := range strings.SplitSeq(line, ", ") {
			target, params, ok := strings.Cut(link, ">; ")
			require.True(t, ok, link)
			for param := range strings.SplitSeq(params, "; ") {
				if rel, isRel := strings.CutPrefix(param, "rel="); isRel {
					var name string
					require.NoError(t, json.Unmarshal([]byte(rel), &name))
					assert.NotContains(t, out, name, "named once")
					out[name] = strings.TrimPrefix(target, "<")
				}
			}
		}
	}
	return out
}
