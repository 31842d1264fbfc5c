package graphql_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/graphql"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	ofGraphQL = "application/graphql-response+json; charset=utf-8"
	ofJSON    = "application/json; charset=utf-8"
	ofProblem = "application/problem+json"
)

// GH-01 to GH-05 and GH-07, in both profiles and for both kinds of clients: what each mistake is answered with.
func TestGHStatuses(t *testing.T) {
	t.Parallel()
	draft, legacy := open(t), open(t, func(o *graphql.Options) { o.Status = graphql.StatusLegacy })
	draft.Product(t, 1)
	type want struct {
		status int
		media  string
	}
	asked := func(text string) any { return map[string]any{"query": text} }
	for _, c := range []struct {
		name string
		body any
		kind string // Content-Type instead of JSON's
		// The draft for its own clients and for older ones; the older text for both.
		draftNew, draftOld, legacyNew, legacyOld want
	}{
		{"an answer", asked(`{ __typename }`), "", want{200, ofGraphQL}, want{200, ofJSON}, want{200, ofGraphQL}, want{200, ofJSON}},
		{"data and errors", asked(`{ product(id: "x") { id } }`), "", want{294, ofGraphQL}, want{200, ofJSON}, want{200, ofGraphQL}, want{200, ofJSON}},
		{"null and errors", asked(`{ products(first: -1) { edges { cursor } } }`), "", want{294, ofGraphQL}, want{200, ofJSON}, want{200, ofGraphQL}, want{200, ofJSON}},
		{"no JSON", `{`, "", want{400, ofGraphQL}, want{400, ofGraphQL}, want{400, ofGraphQL}, want{400, ofJSON}},
		{"no query", `{"qeury": "{ __typename }"}`, "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{400, ofJSON}},
		{"variables that are a list", `{"query": "{ __typename }", "variables": [7]}`, "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{400, ofJSON}},
		{"a query that is a number", `{"query": 7}`, "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{400, ofJSON}},
		{"a batch", `[{"query": "{ __typename }"}]`, "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{400, ofJSON}},
		{"no GraphQL", asked(`{`), "", want{400, ofGraphQL}, want{400, ofGraphQL}, want{400, ofGraphQL}, want{200, ofJSON}},
		{"an unknown field", asked(`{ nope }`), "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{200, ofJSON}},
		{"two operations", asked(`query A { __typename } query B { __typename }`), "", want{422, ofGraphQL}, want{422, ofGraphQL}, want{400, ofGraphQL}, want{200, ofJSON}},
		{
			"a variable of the wrong type",
			map[string]any{"query": `query($id: ID!) { product(id: $id) { id } }`, "variables": map[string]any{"id": []int{}}},
			"",
			want{422, ofGraphQL},
			want{422, ofGraphQL},
			want{400, ofGraphQL},
			want{200, ofJSON},
		},
		{
			"unknown members and empty ones", `{"query": "{ __typename }", "variables": null, "operationName": null, "extensions": null, "more": [1, {"a": []}]}`, "",
			want{200, ofGraphQL},
			want{200, ofJSON},
			want{200, ofGraphQL},
			want{200, ofJSON},
		},
		{"a form", `query=%7B__typename%7D`, "application/x-www-form-urlencoded", want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}},
		{"a text", `{ __typename }`, "application/graphql", want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}},
		{"no type", `{"query": "{ __typename }"}`, "none", want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}},
		{"another charset", `{"query": "{ __typename }"}`, "application/json; charset=latin1", want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}, want{415, ofProblem}},
		{"a megabyte", `{"query": "` + strings.Repeat("[", 1<<20) + `"}`, "", want{413, ofProblem}, want{413, ofProblem}, want{413, ofProblem}, want{413, ofProblem}},
	} {
		for _, as := range []struct {
			shop   *shop
			accept string
			want   want
		}{
			{draft, "application/graphql-response+json, application/json;q=0.9", c.draftNew},
			{draft, "application/json", c.draftOld},
			{legacy, "application/graphql-response+json", c.legacyNew},
			{legacy, "application/json", c.legacyOld},
		} {
			header := http.Header{"Accept": {as.accept}}
			switch c.kind {
			case "":
			case "none":
				header["Content-Type"] = nil
			default:
				header.Set("Content-Type", c.kind)
			}
			r := as.shop.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: as.shop.Token(t, "customer-1", kit.Everything), Body: c.body, Header: header})
			assert.Equal(t, as.want, want{r.Status, r.Header.Get("Content-Type")}, "%s, %s: %s", c.name, as.accept, r.Body)
			assert.True(t, json.Valid(r.Body), "%s", r.Body)
			assert.Equal(t, r.Status >= 400 || as.want.status == 200 && c.draftNew.status >= 400, !strings.Contains(string(r.Body), `"data"`), "%s: %s", c.name, r.Body)
		}
	}
}

func TestGHNegotiation(t *testing.T) {
	t.Parallel()
	s := open(t)
	for accept, want := range map[string]string{
		"": ofGraphQL, "*/*": ofGraphQL, "application/*": ofGraphQL, "application/json, */*;q=0.1": ofJSON, "application/json;q=0.5, application/graphql-response+json;q=0.4": ofJSON,
		"application/graphql-response+json;q=0, application/json": ofJSON, "text/html, */*;q=0.8": ofGraphQL, "APPLICATION/JSON": ofJSON,
		"image/png": "", "application/graphql-response+json;q=0": "", "text/html": "",
	} {
		header := http.Header{}
		if accept != "" {
			header.Set("Accept", accept)
		}
		r := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-1", ""), Body: post{Query: `{ __typename }`}, Header: header})
		if want == "" {
			assert.Equal(t, http.StatusNotAcceptable, r.Status, accept)
			continue
		}
		assert.Equal(t, want, r.Header.Get("Content-Type"), accept)
		assert.Equal(t, "Accept", r.Header.Get("Vary"))
	}
}

// GH-06: the request needs a token whatever it asks for.
func TestGHATokenIsNeeded(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := s.Do(t, kit.Call{Method: method, Path: "/graphql", Body: `{"query": "{ __typename }"}`})
		assert.Equal(t, http.StatusUnauthorized, r.Status)
		assert.Equal(t, ofProblem, r.Header.Get("Content-Type"))
		assert.Contains(t, r.Header.Get("WWW-Authenticate"), "Bearer")
	}
	r := s.Do(t, kit.Call{Method: http.MethodPut, Path: "/graphql", Token: s.Token(t, "customer-1", "")})
	assert.Equal(t, http.StatusMethodNotAllowed, r.Status)
}

func (s *shop) get(t testing.TB, query url.Values, header http.Header) kit.Reply {
	t.Helper()
	return s.Do(t, kit.Call{Method: http.MethodGet, Path: "/graphql?" + query.Encode(), Token: s.Token(t, "customer-1", kit.Everything), Header: header})
}

// Queries may be read with GET, and kept where they are the same for everybody; mutations may not.
func TestGHGet(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.Product(t, 1)
	page := url.Values{"query": {`query P($n: Int) { products(first: $n) { nodes { id } } }`}, "variables": {`{"n": 1}`}, "operationName": {"P"}}
	r := s.get(t, page, nil)
	assert.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	assert.Equal(t, "public, max-age=60", r.Header.Get("Cache-Control"))
	again := s.get(t, page, http.Header{"If-None-Match": {r.Header.Get("ETag")}})
	assert.Equal(t, http.StatusNotModified, again.Status)
	assert.Empty(t, again.Body)
	r = s.get(t, url.Values{"query": {`{ myOrders { nodes { id } } products { nodes { id } } }`}}, nil)
	assert.Equal(t, "private, no-store", r.Header.Get("Cache-Control"))
	r = s.get(t, url.Values{"query": {`{ a: product(id: "x") { id } b: product(id: "` + id.String() + `") { id } }`}}, nil)
	assert.Equal(t, "private, no-store", r.Header.Get("Cache-Control"), "an error is nobody else's")
	r = s.ask(t, post{Query: `{ products { nodes { id } } }`})
	assert.Equal(t, "no-store", r.Header.Get("Cache-Control"))

	r = s.get(t, url.Values{"query": {createOrder}}, nil)
	assert.Equal(t, http.StatusMethodNotAllowed, r.Status)
	assert.Equal(t, http.MethodPost, r.Header.Get("Allow"))
	for query, status := range map[string]int{
		"query={__typename}&operationName=": 200, "query=query+null{__typename}&operationName=null": 200, "query={__typename}&operationName=null": 422,
		"query={__typename}&variables=": 200, "query={__typename}&variables={": 400, "query={__typename}&variables=[]": 422, "query=": 422, "a=b": 422,
		"query={__typename}&query={__typename}": 422,
	} {
		r := s.Do(t, kit.Call{Method: http.MethodGet, Path: "/graphql?" + query, Token: s.Token(t, "customer-1", "")})
		assert.Equal(t, status, r.Status, "%s: %s", query, r.Body)
	}
}

// PQ-01 and PQ-02: a hash is not known until the document came with it once, and was good.
func TestPQAutomaticPersistedQueries(t *testing.T) {
	t.Parallel()
	s := open(t)
	const query = `{ __typename }`
	by := func(hash, text string) post {
		return post{Query: text, Extensions: map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}}
	}
	r := s.ask(t, by(sha(query), ""))
	message, code := failure(t, r)
	assert.Equal(t, "PersistedQueryNotFound", message)
	assert.Equal(t, "PERSISTED_QUERY_NOT_FOUND", code)
	assert.Equal(t, "no-store", r.Header.Get("Cache-Control"))

	r = s.ask(t, by(sha("another"), query))
	_, code = failure(t, r)
	assert.Equal(t, "PERSISTED_QUERY_HASH_MISMATCH", code)
	assert.Equal(t, http.StatusBadRequest, r.Status)
	_, code = failure(t, s.ask(t, by(sha(query), "")))
	assert.Equal(t, "PERSISTED_QUERY_NOT_FOUND", code, "not stored")
	for _, bad := range []string{`{ nope }`, `{ myOrders(first: 100) { nodes { lines { product { id } } } } a: myOrders(first: 100) { nodes { lines { product { id } } } }` +
		` b: myOrders(first: 100) { nodes { lines { product { id } } } } c: myOrders(first: 100) { nodes { lines { product { id } } } } }`} {
		failure(t, s.ask(t, by(sha(bad), bad)))
		_, code = failure(t, s.ask(t, by(sha(bad), "")))
		assert.Equal(t, "PERSISTED_QUERY_NOT_FOUND", code, "what is refused is not stored")
	}

	data(t, s.ask(t, by(sha(query), query)))
	data(t, s.ask(t, by(sha(query), "")))
	data(t, s.ask(t, by(strings.ToUpper(sha(query)), "")))
	extensions, err := json.Marshal(by(sha(query), "").Extensions)
	require.NoError(t, err)
	data(t, s.get(t, url.Values{"extensions": {string(extensions)}}, nil))
	data(t, s.ask(t, post{DocumentID: "sha256:" + sha(query)}))

	// One caller's flood pushes out that caller's own documents, and nobody else's.
	other := kit.Call{Method: http.MethodPost, Path: "/graphql", Token: s.Token(t, "customer-2", kit.Everything)}
	for i := range 101 {
		text := fmt.Sprintf(`{ a%d: __typename }`, i)
		other.Body = by(sha(text), text)
		data(t, s.Do(t, other))
	}
	data(t, s.ask(t, by(sha(query), "")))
	other.Body = by(sha(`{ a0: __typename }`), "")
	_, code = failure(t, s.Do(t, other))
	assert.Equal(t, "PERSISTED_QUERY_NOT_FOUND", code)
}

// PQ-03: what the clients were built with is executed by its id; with enforce nothing else is.
func TestPQTrustedDocuments(t *testing.T) {
	t.Parallel()
	const known, stray = `{ __typename }`, `{ a: __typename }`
	relay, err := json.Marshal(map[string]string{"sha256:" + sha(known): known})
	require.NoError(t, err)
	apollo := fmt.Appendf(nil, `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id": %q, "name": "X", "type": "query", "body": %q}]}`, sha(known), known)

	log := &strings.Builder{}
	report := open(t, func(o *graphql.Options) {
		o.Trusted = graphql.Trusted{Manifest: relay, Mode: graphql.TrustReport}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	data(t, report.ask(t, post{DocumentID: "sha256:" + sha(known)}))
	data(t, report.ask(t, post{Query: known}))
	assert.Empty(t, log.String())
	data(t, report.ask(t, post{Query: stray}))
	data(t, report.ask(t, post{Query: stray}))
	assert.Equal(t, 1, strings.Count(log.String(), sha(stray)), "told once")

	enforce := open(t, func(o *graphql.Options) { o.Trusted = graphql.Trusted{Manifest: apollo, Mode: graphql.TrustEnforce} })
	data(t, enforce.ask(t, post{DocumentID: sha(known)}))
	data(t, enforce.ask(t, post{Query: known}))
	data(t, enforce.ask(t, post{Extensions: map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": sha(known)}}}))
	for _, query := range []string{stray, `{ __schema { queryType { name } } }`} {
		r := enforce.ask(t, post{Query: query})
		_, code := failure(t, r)
		assert.Equal(t, "DOCUMENT_NOT_TRUSTED", code)
		assert.Equal(t, http.StatusForbidden, r.Status)
	}
	r := enforce.ask(t, post{DocumentID: "sha256:" + sha(stray)})
	_, code := failure(t, r)
	assert.Equal(t, "PERSISTED_DOCUMENT_NOT_FOUND", code)

	api := kit.NewAPI(t)
	for _, bad := range []graphql.Trusted{
		{Mode: graphql.TrustEnforce}, {Manifest: []byte(`{"x": "{ nope }"}`)}, {Manifest: []byte(`[]`)}, {Mode: "yes"},
	} {
		_, err := graphql.New(graphql.Options{API: api.REST, Trusted: bad})
		assert.Error(t, err)
	}
}

// RY-03: pages have bounds, which are told instead of quietly kept.
func TestRYBoundsOfPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 25 {
		s.Exec(t, `UPDATE products SET name = $2 WHERE id = $1`, s.Product(t, 1), fmt.Sprintf("p%02d", i))
	}
	for query, wrong := range map[string]string{
		`{ products(first: -1) { nodes { id } } }`: "BAD_USER_INPUT", `{ products(first: 101) { nodes { id } } }`: "BAD_USER_INPUT",
		`{ products(last: 101) { nodes { id } } }`: "BAD_USER_INPUT", `{ products(first: 1, last: 1) { nodes { id } } }`: "BAD_USER_INPUT",
		`{ products(after: "x") { nodes { id } } }`: "BAD_CURSOR", `{ products(sort: RELEVANCE) { nodes { id } } }`: "BAD_USER_INPUT",
		`{ products { nodes { id } } }`: "", `{ products(first: 0) { nodes { id } pageInfo { hasNextPage } } }`: "",
	} {
		r := s.ask(t, post{Query: query})
		if wrong == "" {
			data(t, r)
			continue
		}
		_, code := failure(t, r)
		assert.Equal(t, wrong, code, query)
	}
	got := data(t, s.ask(t, post{Query: `{ products { nodes { name } pageInfo { endCursor hasNextPage hasPreviousPage } } }`}))
	assert.Len(t, at(t, got, "products", "nodes"), 20)
	cursor := at(t, got, "products", "pageInfo", "endCursor")
	next := data(t, s.ask(t, post{Query: `query($c: String) { products(after: $c) { nodes { name } pageInfo { hasNextPage hasPreviousPage } } }`, Variables: map[string]any{"c": cursor}}))
	assert.Equal(t, map[string]any{"hasNextPage": false, "hasPreviousPage": true}, at(t, next, "products", "pageInfo"))
	_, code := failure(t, s.ask(t, post{Query: `query($c: String) { products(after: $c, sort: NAME_DESC) { nodes { name } } }`, Variables: map[string]any{"c": cursor}}))
	assert.Equal(t, "BAD_CURSOR", code, "a cursor of another list")
}

// GQ-04: the cost is told, and what is left of the quota in its points.
func TestGQCostIsChargedAsCalls(t *testing.T) {
	t.Parallel()
	s := openOn(t, kit.NewLimitedAPI(t, "20/1h", "5/1h"))
	s.Product(t, 1)
	cost := func(r kit.Reply) map[string]any {
		var out struct{ Extensions struct{ Cost map[string]any } }
		require.NoError(t, json.Unmarshal(r.Body, &out), "%s", r.Body)
		return out.Extensions.Cost
	}
	r := s.ask(t, post{Query: `{ products(first: 20) { nodes { id } } }`})
	assert.Equal(t, map[string]any{"requested": 21.0, "actual": 2.0, "remaining": 19.0 * 250}, cost(r))
	assert.Contains(t, r.Header.Get("RateLimit"), "r=19")
	dear := post{Query: `{ myOrders(first: 100) { nodes { lines { product { id } } } } }`} // 701 points: three calls
	assert.InDelta(t, 16*250, cost(s.ask(t, dear))["remaining"], 0)
	for range 5 {
		require.Equal(t, http.StatusOK, s.ask(t, dear).Status)
	}
	r = s.ask(t, dear)
	assert.Equal(t, http.StatusTooManyRequests, r.Status, "one is left, and three are wanted: %s", r.Header.Get("RateLimit"))
	assert.Equal(t, ofProblem, r.Header.Get("Content-Type"))
	assert.NotEmpty(t, r.Header.Get("Retry-After"))
	rest := s.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/products", Token: s.Token(t, "customer-1", kit.Everything)})
	assert.Equal(t, http.StatusOK, rest.Status, "the last one, of the same quota")
	rest = s.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/products", Token: s.Token(t, "customer-1", kit.Everything)})
	assert.Equal(t, http.StatusTooManyRequests, rest.Status)
	assert.Equal(t, http.StatusTooManyRequests, s.ask(t, post{Query: `{ nope }`}).Status, "mistakes are charged too")
}

// A mutation's fields are charged as the writes they are, and a repeat as none.
func TestGQWritesAreChargedAsWrites(t *testing.T) {
	t.Parallel()
	s := openOn(t, kit.NewLimitedAPI(t, "1000/1h", "3/1h"))
	product := s.Product(t, 100)
	s.place(t, "customer-2", 1, product) // before the first connection Redis is not used: its names carry the database's timeline
	const two = `mutation($input: CreateOrderInput!) { a: createOrder(input: $input) { order { id } } b: createOrder(input: $input) { order { id } } }`
	first := s.write(t, "1", post{Query: two, Variables: input(product, 1)})
	data(t, first)
	r := s.write(t, "2", post{Query: two, Variables: input(product, 1)})
	_, code := failure(t, r)
	assert.Equal(t, "QUOTA_EXCEEDED", code)
	assert.Equal(t, 96, s.available(t, product), "the first field of the second request was the third write")
	again := s.write(t, "1", post{Query: two, Variables: input(product, 1)})
	assert.Equal(t, string(first.Body), string(again.Body), "a repeat costs nothing of it")
	rest := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/orders", Token: s.Token(t, "customer-1", kit.Everything), Key: "k", Body: map[string]any{
		"customerId": "customer-1", "shippingAddress": ship, "lines": []map[string]any{{"productId": product, "quantity": 1}},
	}})
	assert.Equal(t, http.StatusTooManyRequests, rest.Status)
}
