package kit

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Azure is a Key Vault and the endpoint where an app's process gets its identity's tokens, over real HTTP, as the SDK's
// clients know them. The endpoint is named in the environment, so tests with it can't be parallel.
type Azure struct {
	ClientID, ObjectID string       // of the identity that is assigned to the app
	VaultURL           string       // https, with a certificate that only Transport trusts
	Transport          *http.Client // knows the way to VaultURL
	// Audience is what the vault asks tokens for, Tenant whose they must be.
	Audience, Tenant string

	mu       sync.Mutex
	secrets  map[string][]*VaultVersion
	fault    func(http.ResponseWriter, *http.Request) bool // answers in the vault's place when true
	identity func(http.ResponseWriter, *http.Request) bool // the same for the identity's endpoint
	life     time.Duration
	tenant   string // of the identity
	serial   int
	Asked    []string // what came to the vault: "401 GET /secrets/..." and so on
	Tokens   []string // resources that tokens were asked for
}

// VaultVersion is one version of a secret.
type VaultVersion struct {
	ID, Value string
	Enabled   bool
	Created   time.Time
	NotBefore time.Time
}

// PageSize is how many versions the vault lists at once, so that few are many pages.
const PageSize = 3

// NewAzure starts both.
func NewAzure(t testing.TB) *Azure {
	t.Helper()
	a := &Azure{
		ClientID: uuid.NewString(), ObjectID: uuid.NewString(), Tenant: uuid.NewString(), Audience: "https://example.com",
		secrets: make(map[string][]*VaultVersion), life: 24 * time.Hour,
	}
	a.tenant = a.Tenant
	vault := httptest.NewTLSServer(http.HandlerFunc(a.vault))
	t.Cleanup(vault.Close)
	// The test server's certificate is for *.example.com, and its client finds it there.
	a.VaultURL, a.Transport = "https://shop.example.com", vault.Client()
	identity := httptest.NewServer(http.HandlerFunc(a.token))
	t.Cleanup(identity.Close)
	t.Setenv("IDENTITY_ENDPOINT", identity.URL+"/msi/token")
	t.Setenv("IDENTITY_HEADER", "the header of this test")
	return a
}

// Set adds a version to a secret, as of now, and returns it.
func (a *Azure) Set(name, value string) *VaultVersion { return a.SetAt(name, value, time.Now()) }

// SetAt adds a version that was made at another time.
func (a *Azure) SetAt(name, value string, at time.Time) *VaultVersion {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &VaultVersion{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Value: value, Enabled: true, Created: at}
	a.secrets[name] = append(a.secrets[name], v)
	return v
}

// Change runs f while nobody is answered.
func (a *Azure) Change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Fault has f answer in the vault's place, when it returns true; nil mends it.
func (a *Azure) Fault(f func(http.ResponseWriter, *http.Request) bool) {
	a.Change(func() { a.fault = f })
}

// FaultIdentity is Fault for the identity's endpoint.
func (a *Azure) FaultIdentity(f func(http.ResponseWriter, *http.Request) bool) {
	a.Change(func() { a.identity = f })
}

// TokenLife is how long the next tokens live.
func (a *Azure) TokenLife(d time.Duration) { a.Change(func() { a.life = d }) }

// MoveIdentity puts the identity into another tenant than the vault's.
func (a *Azure) MoveIdentity() { a.Change(func() { a.tenant = uuid.NewString() }) }

// Log is what was asked of the vault so far, and Resources what tokens were for.
func (a *Azure) Log() (asked, resources []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.Asked), slices.Clone(a.Tokens)
}

// Hang breaks the connection without an answer, as a vault that is away.
func Hang(w http.ResponseWriter, _ *http.Request) bool {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
	return true
}

// Refuse answers with a status and the service's form of an error.
func Refuse(status int, code, message string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		answerJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
		return true
	}
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever has gone doesn't read it
}

// vault answers as Key Vault does: a challenge to who brings no token, then lists of versions in pages and values.
func (a *Azure) vault(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fault := a.fault
	a.mu.Unlock()
	status := 0
	if fault == nil || !fault(w, r) {
		a.mu.Lock()
		var body any
		status, body = a.answer(w, r)
		a.mu.Unlock()
		answerJSON(w, status, body)
	}
	a.Change(func() { a.Asked = append(a.Asked, fmt.Sprintf("%d %s %s", status, r.Method, r.URL.Path)) })
}

func vaultError(code, message string) any {
	return map[string]any{"error": map[string]string{"code": code, "message": message}}
}

func (a *Azure) answer(w http.ResponseWriter, r *http.Request) (int, any) {
	challenge := func(message string) (int, any) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://login.microsoftonline.com/%s", resource="%s"`, a.Tenant, a.Audience))
		return http.StatusUnauthorized, vaultError("Unauthorized", message)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return challenge("AKV10000: Request is missing a Bearer or PoP token.")
	}
	claims := claimsOf(token)
	switch {
	case claims["aud"] != a.Audience:
		return challenge("AKV10022: Invalid audience. Expected " + a.Audience + ", found: " + fmt.Sprint(claims["aud"]) + ".")
	case claims["tid"] != a.Tenant:
		return challenge("AKV10032: Invalid issuer. Expected one of https://sts.windows.net/" + a.Tenant + "/, found https://sts.windows.net/" + fmt.Sprint(claims["tid"]) + "/.")
	}
	if r.URL.Query().Get("api-version") == "" {
		return http.StatusBadRequest, vaultError("BadParameter", "The api-version is missing.")
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 3 || parts[0] != "secrets" {
		return http.StatusNotFound, vaultError("NotFound", "There is no such path.")
	}
	name, version := parts[1], parts[2]
	if version == "versions" {
		return a.list(r, name)
	}
	for _, v := range a.secrets[name] {
		if v.ID == version && !v.Enabled {
			return http.StatusForbidden, vaultError("Forbidden", "Operation get is not allowed on a disabled secret.")
		}
		if v.ID == version {
			return http.StatusOK, map[string]any{"value": v.Value, "id": a.id(name, v), "attributes": attributes(v)}
		}
	}
	return http.StatusNotFound, vaultError("SecretNotFound", "A secret with (name/id) "+name+"/"+version+" was not found in this key vault.")
}

// list is a page of versions, in no order that means anything.
func (a *Azure) list(r *http.Request, name string) (int, any) {
	all := slices.Clone(a.secrets[name])
	slices.SortFunc(all, func(x, y *VaultVersion) int { return strings.Compare(x.ID, y.ID) })
	var from int
	_, _ = fmt.Sscan(r.URL.Query().Get("$skiptoken"), &from) // none is the first page
	page := map[string]any{"nextLink": nil}
	items := []any{}
	for _, v := range all[min(from, len(all)):min(from+PageSize, len(all))] {
		items = append(items, map[string]any{"id": a.id(name, v), "attributes": attributes(v)})
	}
	if from+PageSize < len(all) {
		page["nextLink"] = fmt.Sprintf("%s/secrets/%s/versions?api-version=%s&$skiptoken=%d", a.VaultURL, name, url.QueryEscape(r.URL.Query().Get("api-version")), from+PageSize)
	}
	page["value"] = items
	return http.StatusOK, page
}

func (a *Azure) id(name string, v *VaultVersion) string {
	return a.VaultURL + "/secrets/" + name + "/" + v.ID
}

func attributes(v *VaultVersion) map[string]any {
	out := map[string]any{"enabled": v.Enabled, "created": v.Created.Unix(), "updated": v.Created.Unix(), "recoveryLevel": "Recoverable+Purgeable"}
	if !v.NotBefore.IsZero() {
		out["nbf"] = v.NotBefore.Unix()
	}
	return out
}

// token answers as the identity endpoint of App Service does.
func (a *Azure) token(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fault := a.identity
	a.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	switch {
	case r.Header.Get("X-Identity-Header") != "the header of this test":
		answerJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": "The X-IDENTITY-HEADER is wrong."})
	case q.Get("api-version") == "" || q.Get("resource") == "":
		answerJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "The api-version or the resource is missing."})
	case q.Get("client_id") != a.ClientID:
		answerJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."})
	default:
		a.Tokens = append(a.Tokens, q.Get("resource"))
		a.serial++
		expires := time.Now().Add(a.life).Unix()
		answerJSON(w, http.StatusOK, map[string]any{
			"access_token": jwt(map[string]any{"aud": q.Get("resource"), "tid": a.tenant, "oid": a.ObjectID, "exp": expires, "jti": a.serial}),
			"expires_on":   fmt.Sprint(expires), "resource": q.Get("resource"), "token_type": "Bearer", "client_id": a.ClientID,
		})
	}
}

// jwt looks like a token; nobody here can check its signature.
func jwt(claims map[string]any) string {
	body, _ := json.Marshal(claims) // strings and numbers
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(body) + "." + encode([]byte("signature"))
}

func claimsOf(token string) (claims map[string]any) {
	if parts := strings.Split(token, "."); len(parts) == 3 {
		body, _ := base64.RawURLEncoding.DecodeString(parts[1]) // a token that can't be read has no claims
		_ = json.Unmarshal(body, &claims)
	}
	return claims
}
