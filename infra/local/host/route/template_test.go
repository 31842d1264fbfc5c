package route

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template string
		yes, no  string // paths, separated by blanks
	}{
		{
			"api/v1/orders/{*rest}", "/api/v1/orders /api/v1/orders/ /api/v1/orders/1/cancel /API/V1/Orders/1 /api/v1/orders/a//b",
			"/api/v1/order /api/v1 / /api/v1/orders//1 /api//v1/orders //api/v1/orders",
		},
		{"api/v1/order-requests/{id}", "/api/v1/order-requests/7 /api/v1/order-requests/7/", "/api/v1/order-requests /api/v1/order-requests/7/8"},
		{"graphql", "/graphql /GraphQL /graphql/", "/graphqlx /graphql/x"},
		{"openapi.{format}", "/openapi.json /OpenAPI.yaml /openapi.a.b", "/openapi. /openapi /openapijson"},
		{"d/v{version:int}/products/{*rest}", "/d/v1/products /d/v1/products/x", "/d/vx/products /d/1/products /d/v/products"},
		{"a/{version:regex(^v[0-9]+$)}/x", "/a/v1/x /a/V22/x", "/a/v/x /a/1/x"},
		{"a/{version:regex(^v[[0-9]]+$)}/x", "", "/a/v1/x /a/v/x"}, // brackets are not doubled
		{`b/{version:regex(^v\d+$)}`, "/b/v1", "/b/vv"},
		{"e/{page:regex(^(docs|ops)$)}", "/e/docs /e/OPS", "/e/doc /e/docsx"},
		{"y/{year:regex(^\\d{{4}}$)}", "/y/2026", "/y/226 /y/20260"},
		{
			"things/{id:guid}", "/things/0192e0a4-7b5c-7c3e-8f0a-0123456789ab /things/0192E0A47B5C7C3E8F0A0123456789AB /things/{0192e0a4-7b5c-7c3e-8f0a-0123456789ab}",
			"/things/1 /things/urn:uuid:0192e0a4-7b5c-7c3e-8f0a-0123456789ab /things",
		},
		{"n/{n:int}", "/n/5 /n/-5 /n/2147483647", "/n/2147483648 /n/x /n/1.5"},
		{"n/{n:int:range(1,9)}", "/n/1 /n/9", "/n/0 /n/10 /n/x"},
		{"n/{n:min(3)}/{m:max(4)}", "/n/3/4", "/n/2/4 /n/3/5"},
		{"n/{s:length(2,3)}/{t:minlength(2):maxlength(2)}", "/n/ab/cd /n/abc/cd", "/n/a/cd /n/abcd/cd /n/ab/c /n/ab/cde"},
		{"opt/{x?}", "/opt /opt/ /opt/1", "/opt/1/2"},
		{"opt/{x:int?}", "/opt /opt/1", "/opt/x"},
		{"{*rest}", "/ /a /a/b", "//a"},
		{"{a}-{b}", "/1-2 /1-2-3", "/12 /-2 /1-"},
		{"x/{y:alpha}/{z:bool}", "/x/abc/True", "/x/ab1/true /x/abc/1"},
		{"c/{*rest:regex(^a/b)}", "/c/a/b /c/a/b/c", "/c /c/x"},
		{"", "/", "/x"},
	} {
		template, err := Parse(c.template)
		require.NoError(t, err, c.template)
		for _, path := range strings.Fields(c.yes) {
			assert.True(t, template.Match(Split(path)), "%s should match %s", c.template, path)
		}
		for _, path := range strings.Fields(c.no) {
			assert.False(t, template.Match(Split(path)), "%s should not match %s", c.template, path)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for template, says := range map[string]string{
		"/x":                   "leave that out",
		"x//y":                 "two slashes",
		"x/{id":                "no closing }",
		"x}":                   "without its {",
		"x?":                   "outside a parameter",
		"{id}{other}":          "nothing between",
		"{*rest}/x":            "must be last",
		"{x?}/y":               "must be last",
		"a{x?}":                "can't share its segment",
		"{id}/{ID}":            "there twice",
		"{}":                   "no proper name",
		"{id:}":                "empty constraint",
		"{id:nope}":            "not known",
		"{id:datetime}":        "not known",
		"{id=1}":               "default values",
		"{id:int(1)}":          "takes no argument",
		"{id:range(2,1)}":      "not its bounds",
		"{id:min(x)}":          "not a whole number",
		"{id:regex([)}":        "reading the expression",
		"{id:regex()}":         "no expression",
		"{id:regex(a}":         "no closing parenthesis",
		"{***rest}":            "more than two stars",
		"{*rest?}":             "can't be optional",
		"{id:regex(^\\d{2}$)}": "write {{",
	} {
		_, err := Parse(template)
		assert.ErrorContains(t, err, says, template)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second string
		covers        bool
	}{
		{"{*all}", "api/x", true},
		{"api/{*rest}", "api", true},
		{"api/{*rest}", "apx", false},
		{"api/{id}", "api/export", true},
		{"api/{id:int}", "api/export", false},
		{"api/{id:int}", "api/5", true},
		{"api/{id:int}", "api/{n:int:min(3)}", true},
		{"api/{n:int:min(3)}", "api/{id:int}", false},
		{"api/{id}", "api/{*rest}", false},
		{"api/{id}", "api/{id?}", false},
		{"api/{id?}", "api", true},
		{"api/{id?}", "api/{id}", true},
		{"openapi.{format}", "openapi.json", true},
		{"openapi.{format}", "OpenAPI.{format}", true},
		{"{name}", "openapi.{format}", true},
		{"openapi.{format}", "{name}", false},
		{"a/{*x:int}", "a/{*y:int}", true},
		{"a/{*x:int}", "a/{y}", false},
		{"a", "a/b", false},
	} {
		first, err := Parse(c.first)
		require.NoError(t, err)
		second, err := Parse(c.second)
		require.NoError(t, err)
		assert.Equal(t, c.covers, first.Covers(second), "%s over %s", c.first, c.second)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("api/{id:regex(^v[0-9]+$)}/{*rest}", "/api/v1/x")
	f.Add("{a}-{b?}", "/1-2")
	f.Add("x/{{y}}/{z:length(1,2)?}", "/x/{y}/zz")
	f.Fuzz(func(t *testing.T, text, path string) {
		template, err := Parse(text)
		if err != nil {
			return
		}
		template.Match(Split(path))
		// Whatever it matches, it leaves nothing for a copy of itself.
		assert.True(t, template.Covers(template), text)
	})
}
