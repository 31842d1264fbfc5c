package rest

import (
	"net/http"
	"path"
	"strings"
)

// maxURI is the longest request target in bytes, which is also what the Functions host takes. A cursor, the longest
// parameter there is, has 2 KiB.
const maxURI = 8 << 10

// overrides are headers by which some frameworks let a client name another method than the one it sends. Whoever stands
// before us decides by the method that was sent, so a second opinion is refused and not passed over: a client that relies
// on it would else be told that a read was fine where it meant a change.
var overrides = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// plain refuses requests that two readers could take for two different ones, before anything looks at their path.
func plain(r *http.Request) error {
	if len(r.RequestURI) > maxURI {
		return NewProblem(uriTooLong, "The request's address is longer than %d bytes.", maxURI)
	}
	for _, name := range overrides {
		if _, sent := r.Header[name]; sent {
			return NewProblem(Malformed, "The method is the one in the request line: %s is not taken.", name)
		}
	}
	// The router would send the client on to the path's other spelling, with a body for browsers and, for a write, a second
	// request. There is one spelling of each address.
	if p := r.URL.Path; !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.Contains(p, "/.") && path.Clean(p) != strings.TrimSuffix(p, "/") {
		return NewProblem(NotFound, "There is nothing at this address.")
	}
	return nil
}

// options answers OPTIONS: what is possible at an address. allow is the router's list.
func options(w http.ResponseWriter, allow string) {
	h := w.Header()
	h["Allow"] = []string{allow}
	if h["Access-Control-Allow-Origin"] != nil {
		h["Access-Control-Allow-Methods"] = []string{allow}
	}
	w.WriteHeader(http.StatusNoContent)
}
