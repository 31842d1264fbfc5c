package issuer

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Handler serves discovery, keys and tokens.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `The local stack's token issuer. It gives whoever asks a token for whoever they like.

  curl -s %[1]s/token -d grant_type=client_credentials -d sub=customer-1 -d scope='order:read order:write'

-d roles=admin adds app roles, -d email=a@b.example an address. Access tokens live for %[2]s; a refresh token
(-d grant_type=refresh_token -d refresh_token=...) is good for one use within %[3]s, and gives the next one. One that comes
twice was copied: then none of its family is good any more.

  %[1]s/.well-known/openid-configuration
  %[1]s/jwks

Keys rotate when they are told to: the next one, published ahead, signs from then on; tokens of the former stay good.

  curl -s -X POST %[1]s/rotate
  curl -s %[1]s/rotate -d emergency=true    all keys are replaced by ones that nobody has seen
`, i.url, accessLife, refreshLife)
	})
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/jwks", "token_endpoint": i.url + "/token",
			"grant_types_supported":                 []string{"client_credentials", "refresh_token"},
			"token_endpoint_auth_methods_supported": []string{"none"},
			"response_types_supported":              []string{}, // nobody signs in here: there is no page to do it on
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) { i.published(w) })
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
		if err := i.Rotate(r.PostFormValue("emergency") == "true"); err != nil {
			answer(w, http.StatusInternalServerError, oauthError{"server_error", err.Error()})
			return
		}
		i.published(w)
	})
	mux.HandleFunc("POST /token", i.token)
	return mux
}

// published answers with the public keys, the one in use first.
func (i *Issuer) published(w http.ResponseWriter) {
	keys, err := i.keys.public()
	if err != nil {
		answer(w, http.StatusInternalServerError, oauthError{"server_error", err.Error()})
		return
	}
	answer(w, http.StatusOK, keys)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left is nobody to tell
}

// oauthError is an answer of RFC 6749, section 5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*") // the local page for GraphQL asks from another port
	g, refresh, bad := i.grantFor(w, r)
	if bad != nil {
		answer(w, http.StatusBadRequest, bad)
		return
	}
	access, err := i.sign(g)
	if err != nil {
		answer(w, http.StatusInternalServerError, oauthError{"server_error", err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(accessLife.Seconds()), "refresh_token": refresh,
	})
}

// grantFor reads what is asked for. The refresh token that comes with it is already the next one.
func (i *Issuer) grantFor(w http.ResponseWriter, r *http.Request) (g grant, refresh string, bad *oauthError) {
	form, bad := readForm(w, r)
	if bad != nil {
		return g, "", bad
	}
	scope := form.Get("scope")
	if !validScope(scope) {
		return g, "", &oauthError{"invalid_scope", "scope is a list of names with one space between them"}
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		g = grant{
			sub: form.Get("sub"), scope: scope, email: form.Get("email"),
			roles: strings.FieldsFunc(strings.Join(form["roles"], " "), func(c rune) bool { return c == ' ' || c == ',' }),
		}
		if g.sub == "" {
			return g, "", &oauthError{"invalid_request", "sub is missing: who is the token for?"}
		}
		return g, i.grants.begin(g, i.now()), nil
	case "refresh_token":
		g, refresh, ok := i.grants.redeem(form.Get("refresh_token"), i.now())
		if !ok {
			return g, "", &oauthError{"invalid_grant", "the refresh token is unknown, expired, or was used before"}
		}
		if scope == "" {
			return g, refresh, nil
		}
		if had := strings.Fields(g.scope); slices.ContainsFunc(strings.Fields(scope), func(s string) bool { return !slices.Contains(had, s) }) {
			return g, "", &oauthError{"invalid_scope", "a refresh can't ask for more than was granted: " + g.scope}
		}
		g.scope = scope // for this access token; the grant stays as wide as it was
		return g, refresh, nil
	case "":
		return g, "", &oauthError{"invalid_request", "grant_type is missing: client_credentials or refresh_token"}
	default:
		return g, "", &oauthError{"unsupported_grant_type", "grant_type is client_credentials or refresh_token"}
	}
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &oauthError{"invalid_request", "send application/x-www-form-urlencoded"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return nil, &oauthError{"invalid_request", "the form can't be read: " + err.Error()}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "roles" {
			return nil, &oauthError{"invalid_request", name + " is given more than once"}
		}
	}
	return r.PostForm, nil
}

// validScope checks the syntax of RFC 6749, section 3.3.
func validScope(scope string) bool {
	return scope == "" || !slices.ContainsFunc(strings.Split(scope, " "), func(name string) bool {
		return name == "" || strings.ContainsFunc(name, func(c rune) bool { return c < '!' || c > '~' || c == '"' || c == '\\' })
	})
}
