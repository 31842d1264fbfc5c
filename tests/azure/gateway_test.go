package azure

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// internalRoutes are for probes and scrapers inside of the network.
var internalRoutes = []string{"health/{check}", "metrics"}

// TestTheGatewayPublishesEveryRoute: each HTTP function is reached through an API, but for the internal ones, and no API
// leads where there is no function.
func TestTheGatewayPublishesEveryRoute(t *testing.T) {
	t.Parallel()
	each(t, func(s snapshot) {
		t := s.t
		bases := map[string]bool{} // path of an API: whether a function is below it
		for _, api := range s.all("Microsoft.ApiManagement/service/apis") {
			base := api.text("path")
			if v := api.text("apiVersion"); v != "" {
				base += "/" + v
			}
			bases[base] = false
		}
		for _, f := range functions(t) {
			if f.trigger != "httpTrigger" {
				continue
			}
			route := strings.Replace(f.route, "{format}", "json", 1)
			served := false
			for base := range bases {
				if route == base || strings.HasPrefix(route, base+"/") {
					served, bases[base] = true, true
				}
			}
			assert.Equal(t, !slices.Contains(internalRoutes, f.route), served, "%s (%s)", f.name, f.route)
		}
		for base, used := range bases {
			assert.True(t, used || base == "graphql" && !hasGraphQL(t), "no function is below %s", base)
		}
		// A backend puts back what the gateway took off.
		apps := map[string]bool{}
		for _, b := range s.all("Microsoft.ApiManagement/service/backends") {
			if b.text("type") != "Single" {
				continue
			}
			template := regexp.MustCompile(`^\[format\('https://\{0\}/\{1\}', .*, '([^']*)'\)\]$`).FindStringSubmatch(b.text("url"))
			require.NotNil(t, template, b.text("url"))
			_, known := bases[template[1]]
			assert.True(t, known, "backend %s leads to %s", b.Name, template[1])
			apps[template[1]] = true
		}
		assert.Len(t, apps, len(bases), "every API has a backend")
	})
}

// graphqlSchema is the GraphQL slice's own.
const graphqlSchema = "../../functions/graphql/schema.graphql"

func hasGraphQL(t *testing.T) bool {
	t.Helper()
	_, err := os.Stat(graphqlSchema)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	return err == nil
}

// TestTheGraphQLAPIIsTheSlicesOwn: UPDATE=1 copies the schema.
func TestTheGraphQLAPIIsTheSlicesOwn(t *testing.T) {
	t.Parallel()
	const published = "../../infra/apim/schema.graphql"
	if hasGraphQL(t) {
		want, err := os.ReadFile(graphqlSchema)
		require.NoError(t, err)
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.WriteFile(published, want, 0o600))
		}
		have, err := os.ReadFile(published)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(have))
	}
	have, err := os.ReadFile(published)
	require.NoError(t, err)
	each(t, func(s snapshot) {
		t := s.t
		api := s.the(t, "Microsoft.ApiManagement/service/apis", "orders-graphql")
		assert.Equal(t, "graphql", api.text("apiType"))
		assert.Equal(t, string(have), s.the(t, "Microsoft.ApiManagement/service/apis/schemas", "graphql").text("document", "value"))
	})
}

// TestTheRestAPIIsTheCommittedDocument: handler's own test holds the document against the code.
func TestTheRestAPIIsTheCommittedDocument(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../infra/apim/openapi.json")
	require.NoError(t, err)
	each(t, func(s snapshot) {
		t := s.t
		api := s.the(t, "Microsoft.ApiManagement/service/apis", "orders-v1")
		assert.Equal(t, "openapi+json", api.text("format"))
		assert.JSONEq(t, string(raw), api.text("value"))
		assert.Equal(t, true, api.at("subscriptionRequired"))
	})
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	require.NoError(t, err)
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	for path, item := range doc.Paths.Map() {
		assert.Empty(t, item.Servers, path)
		for method, operation := range item.Operations() {
			assert.NotEmpty(t, operation.OperationID, "%s %s", method, path)
			assert.Nil(t, operation.Servers, "%s %s: the gateway takes none", method, path)
			assert.NotNil(t, operation.Security, "%s %s asks for no token", method, path)
		}
	}
	assert.NotRegexp(t, `"\$ref": "[^#]`, string(raw), "the gateway takes no references to other files")
}

// element is one element of a policy, with its attributes and what is below.
type element struct {
	XMLName  xml.Name
	Attr     []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
	Text     string     `xml:",chardata"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// walk visits e and all below it in the order of the text.
func (e element) walk(visit func(element)) {
	visit(e)
	for _, c := range e.Children {
		c.walk(visit)
	}
}

func (e element) child(t *testing.T, name string) element {
	t.Helper()
	for _, c := range e.Children {
		if c.XMLName.Local == name {
			return c
		}
	}
	t.Fatalf("%s has no %s", e.XMLName.Local, name)
	return element{}
}

// policies reads every policy and fragment; the decoder is strict, as the gateway's is for the format xml.
func policies(t *testing.T) map[string]element {
	t.Helper()
	out := map[string]element{}
	files, err := filepath.Glob("../../infra/apim/*/*.xml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var root element
		dec := xml.NewDecoder(strings.NewReader(string(raw)))
		require.NoError(t, dec.Decode(&root), file)
		for {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, file)
			require.IsType(t, xml.CharData{}, token, "%s: something follows the policy", file)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".xml")] = root
	}
	return out
}

// order is the names of all elements in a section.
func order(e element) (names []string) {
	e.walk(func(e element) { names = append(names, e.XMLName.Local) })
	return names
}

// knownPolicies are the elements that we use, each spelt as the gateway knows it.
var knownPolicies = strings.Fields(`policies fragment inbound backend outbound on-error base value choose when otherwise
	check-header set-header set-variable set-query-parameter set-body set-backend-service forward-request retry include-fragment
	validate-jwt openid-config audiences audience issuers issuer rate-limit-by-key quota validate-graphql-request
	cache-lookup cache-store vary-by-header`)

func TestPoliciesAreWhole(t *testing.T) {
	t.Parallel()
	all := policies(t)
	named := regexp.MustCompile(`\{\{([^}]+)\}\}`)
	used := map[string]bool{}
	for name, policy := range all {
		policy.walk(func(e element) {
			assert.Contains(t, knownPolicies, e.XMLName.Local, name)
			texts := []string{e.Text}
			for _, a := range e.Attr {
				texts = append(texts, a.Value)
			}
			for _, text := range texts {
				assertBalanced(t, name, text)
				for _, m := range named.FindAllStringSubmatch(text, -1) {
					used[m[1]] = true
				}
			}
		})
		if policy.XMLName.Local != "policies" {
			continue
		}
		backend := policy.child(t, "backend")
		assert.Len(t, backend.Children, 1, "%s: backend takes one policy", name)
		for _, section := range []string{"inbound", "outbound", "on-error"} {
			inherits := slices.Contains(order(policy.child(t, section)), "base")
			assert.Equal(t, name != "global", inherits, "%s: %s", name, section)
		}
	}
	each(t, func(s snapshot) {
		t := s.t
		var values, fragments []string
		for _, v := range s.all("Microsoft.ApiManagement/service/namedValues") {
			values = append(values, filepath.Base(v.Name))
			assert.Equal(t, false, v.at("secret"), "%s: a secret would belong into the vault", v.Name)
		}
		for name := range used {
			assert.Contains(t, values, name)
		}
		assert.Len(t, values, len(used), "a named value that no policy uses")
		for _, f := range s.all("Microsoft.ApiManagement/service/policyFragments") {
			fragments = append(fragments, filepath.Base(f.Name))
			assert.Equal(t, "xml", f.text("format"))
		}
		pools := map[string]bool{}
		for _, b := range s.all("Microsoft.ApiManagement/service/backends") {
			if b.text("type") == "Pool" {
				pools[filepath.Base(b.Name)] = true
			}
		}
		for name, policy := range all {
			policy.walk(func(e element) {
				switch e.XMLName.Local {
				case "include-fragment":
					assert.Contains(t, fragments, e.attr("fragment-id"), name)
				case "set-backend-service":
					if id := e.attr("backend-id"); !strings.HasPrefix(id, "@") {
						assert.True(t, pools[id], "%s: there is no backend %s", name, id)
					}
				}
			})
		}
	})
}

// assertBalanced catches what would break a C# expression: a bracket or a quote too many.
func assertBalanced(t *testing.T, name, text string) {
	t.Helper()
	if !strings.Contains(text, "@(") && !strings.Contains(text, "@{") {
		return
	}
	var open []rune
	quoted, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("([{", c):
			open = append(open, c)
		case strings.ContainsRune(")]}", c):
			require.NotEmpty(t, open, "%s: %s", name, text)
			pair := string(open[len(open)-1]) + string(c)
			require.Contains(t, []string{"()", "[]", "{}"}, pair, "%s: %s", name, text)
			open = open[:len(open)-1]
		}
	}
	assert.Empty(t, open, "%s: %s", name, text)
	assert.False(t, quoted, "%s: %s", name, text)
}

// TestPoliciesKeepTheirPromises reads the order of things: what must be asked before what.
func TestPoliciesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	all := policies(t)
	global := order(all["global"].child(t, "inbound"))
	assert.Equal(t, "check-header", global[1], "nothing happens before it is known that the request came through Front Door")

	caller := order(all["caller"])
	assert.Less(t, slices.Index(caller, "validate-jwt"), slices.Index(caller, "rate-limit-by-key"))
	all["caller"].walk(func(e element) {
		switch e.XMLName.Local {
		case "rate-limit-by-key":
			assert.Equal(t, []string{"10000", "60"}, []string{e.attr("calls"), e.attr("renewal-period")})
			assert.Contains(t, e.attr("counter-key"), "context.Subscription")
		case "validate-jwt":
			assert.Equal(t, "true", e.attr("require-signed-tokens"))
			assert.Equal(t, "true", e.attr("require-expiration-time"))
		}
	})
	raw, err := os.ReadFile("../../infra/apim/openapi.json")
	require.NoError(t, err)
	for _, name := range []string{"api", "graphql"} {
		inbound := order(all[name].child(t, "inbound"))
		assert.Equal(t, "include-fragment", inbound[2], "%s: who calls is asked first", name)
	}
	inbound, outbound := all["api"].child(t, "inbound"), all["api"].child(t, "outbound")
	lookup := slices.Index(order(inbound), "cache-lookup")
	assert.Positive(t, lookup)
	assert.Less(t, lookup, slices.Index(order(inbound), "set-backend-service"))
	assert.Contains(t, order(outbound), "cache-store")
	inbound.walk(func(e element) {
		if e.XMLName.Local == "when" && len(e.Children) == 1 && e.Children[0].XMLName.Local == "cache-lookup" {
			assert.Equal(t, `@((bool)context.Variables["cacheable"])`, e.attr("condition"))
		}
		if e.XMLName.Local == "cache-lookup" {
			assert.Equal(t, "true", e.attr("allow-private-response-caching"), "without it nothing with a token is ever cached")
			assert.Equal(t, "false", e.attr("vary-by-developer"))
		}
		for _, m := range regexp.MustCompile(`Operation\.Id == "([^"]+)"`).FindAllStringSubmatch(e.attr("condition"), -1) {
			assert.Contains(t, string(raw), `"operationId": "`+m[1]+`"`)
		}
		if e.XMLName.Local == "set-variable" && e.attr("name") == "cacheable" {
			for _, asked := range []string{`.Contains(" catalog:read ")`, `.Contains(",catalog:read,")`} {
				assert.Contains(t, e.attr("value"), asked, "a cached answer never reaches the handler's own check")
			}
		}
	})
	outbound.walk(func(e element) {
		if e.XMLName.Local == "when" && slices.Contains(order(e), "cache-store") {
			assert.Contains(t, e.attr("condition"), `"cacheable"`)
			assert.Contains(t, order(e), "set-header", "one caller's quota is not for the next")
		}
	})
	retry := all["api"].child(t, "backend").child(t, "retry")
	assert.Contains(t, retry.attr("condition"), `context.Request.Method == "GET" &&`, "a write is its client's to repeat")
	assert.NotContains(t, retry.attr("condition"), "503")
	for name, policy := range all {
		if name != "api" {
			assert.NotContains(t, order(policy), "retry", name)
		}
	}
}

// TestTheCanaryGetsItsShare expands production with a canary, which the committed snapshots don't have.
func TestTheCanaryGetsItsShare(t *testing.T) {
	t.Parallel()
	var file struct{ PredictedResources []resource }
	require.NoError(t, json.Unmarshal(expanded(t, "../../bicep/tests/failedover.bicepparam"), &file))
	s := snapshot{t: t, environment: "prod", resources: file.PredictedResources}

	for _, pool := range s.all("Microsoft.ApiManagement/service/backends") {
		if pool.text("type") != "Pool" {
			continue
		}
		weights := map[string]int{}
		for _, member := range pool.list("pool", "services") {
			id, err := url.PathUnescape(filepath.Base(member["id"].(string)))
			require.NoError(t, err)
			weights[id] = number(t, member["weight"])
		}
		surface, rank, _ := strings.Cut(filepath.Base(pool.Name), "-primary")
		if rank == "" && surface != filepath.Base(pool.Name) {
			assert.Equal(t, map[string]int{surface + "-stable-primary": 90, surface + "-canary": 10}, weights)
		} else {
			assert.Len(t, weights, 1, pool.Name)
		}
	}
	// Failed over: the other gateway comes first, and messages start functions over there.
	for _, o := range s.all("Microsoft.Cdn/profiles/originGroups/origins") {
		second := strings.Contains(o.text("hostName"), "westus")
		assert.Equal(t, map[bool]int{true: 1, false: 2}[second], number(t, o.at("priority")))
	}
	for _, app := range appSettings(t, s) {
		assert.Equal(t, !strings.Contains(app.Name, "-wus-"), app.text("AzureWebJobs.outbox.Disabled") == "true", app.Name)
	}
	assert.Len(t, s.all("Microsoft.DBforPostgreSQL/flexibleServers"), 1, "the replica is left as it is")
}
