package host

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What net/http lets through is tested on the wire; these can only be asked here.
func TestPath(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"/api/x/%zz":      "/api/x/%25zz",
		"/%":              "/%25",
		"/%4":             "/%254",
		"/%E2%82%AC":      "/%E2%82%AC",
		"/%E2%82":         "/%25E2%2582", // not UTF-8: left alone, then escaped
		"/%FF/%41":        "/%25FF/A",
		"/%EF%BF%BD":      "/%EF%BF%BD",
		"/%00":            "/%2500",
		"/a/./b/../c/..":  "/a/",
		"/../..":          "/",
		"/a/...":          "/a/...",
		"/a//../b":        "/a/b",
		"/\xff":           "/%FF",
		"/it's(a);b=c@d!": "/it's(a);b=c@d!",
	} {
		assert.Equal(t, want, encodePath(decodePath(raw)), raw)
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/a%2Fb", "/%E2%82%AC/..", "/.%2e/%%%", "/a//b/./"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !strings.HasPrefix(raw, "/") {
			return
		}
		path := encodePath(decodePath(raw))
		assert.True(t, strings.HasPrefix(path, "/"), path)
		for i := range len(path) {
			assert.True(t, path[i] > ' ' && path[i] < 0x7f, "%q can't stand in a request line", path)
		}
	})
}
