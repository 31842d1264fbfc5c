package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwt"
)

const (
	maxToken = 8 << 10 // bytes; real ones are below 3 KiB
	maxKeyID = 256
)

// unverified is a token that has been read and not been believed: nothing but its issuer is taken from it before its
// signature is checked.
type unverified struct {
	text          string
	alg, kid, typ string
	claims        jwt.Token
}

// parse reads a token, and refuses all that would let it choose how it is checked (RFC 8725, sections 3.1 and 3.10), or
// be read in two ways: members that come twice, other encodings, other serializations.
func parse(token string) (*unverified, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalidToken, maxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: not a signed JWT", ErrInvalidToken)
	}
	t := &unverified{text: token, claims: jwt.New()}
	head, err := part(parts[0])
	if err != nil {
		return nil, fmt.Errorf("%w: not a signed JWT: its header %w", ErrInvalidToken, err)
	}
	if err := t.header(head); err != nil {
		return nil, err
	}
	body, err := part(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: not a signed JWT: its payload %w", ErrInvalidToken, err)
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return nil, fmt.Errorf("%w: not a signed JWT: its signature is not base64url", ErrInvalidToken)
	}
	if err := json.Unmarshal(body, t.claims); err != nil {
		return nil, fmt.Errorf("%w: a registered claim is not of its type", ErrInvalidToken)
	}
	return t, nil
}

// part decodes one part of a token: a JSON object that names each member once, on every level.
func part(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	if err := members(d); err != nil {
		return nil, err
	}
	if d.More() || d.InputOffset() != int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
		return nil, errors.New("goes on after its end")
	}
	return raw, nil
}

// members reads an object after its brace to its end.
func members(d *json.Decoder) error {
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return errors.New("is not JSON")
		}
		key, _ := name.(string)
		if seen[key] {
			return errors.New("names a member twice")
		}
		seen[key] = true
		if err := value(d); err != nil {
			return err
		}
	}
	return end(d)
}

func value(d *json.Decoder) error {
	first, err := d.Token()
	switch {
	case err != nil:
		return errors.New("is not JSON")
	case first == json.Delim('{'):
		return members(d)
	case first == json.Delim('['):
		for d.More() {
			if err := value(d); err != nil {
				return err
			}
		}
		return end(d)
	}
	return nil
}

func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errors.New("is not JSON")
	}
	return nil
}

// header reads what the token says about itself.
func (t *unverified) header(raw []byte) error {
	var h map[string]any
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("%w: not a signed JWT", ErrInvalidToken)
	}
	// A key or an address of one that comes along; extensions, of which we know none; a token inside of the token.
	for _, name := range []string{"jwk", "jku", "x5u", "x5c", "crit", "b64", "cty", "enc", "zip"} {
		if _, has := h[name]; has {
			return fmt.Errorf("%w: header %s not accepted", ErrInvalidToken, name)
		}
	}
	t.alg, _ = h["alg"].(string)
	t.kid, _ = h["kid"].(string)
	if t.kid == "" || len(t.kid) > maxKeyID {
		return fmt.Errorf("%w: no key id", ErrInvalidToken)
	}
	typ, has := h["typ"]
	t.typ, _ = typ.(string)
	if t.typ = strings.TrimPrefix(strings.ToLower(t.typ), "application/"); has && t.typ != "jwt" && t.typ != "at+jwt" {
		return fmt.Errorf("%w: typ is not JWT or at+jwt", ErrInvalidToken)
	}
	return nil
}

// string is a claim that is a string, or "".
func (t *unverified) string(claim string) string {
	var s string
	if err := t.claims.Get(claim, &s); err != nil {
		return ""
	}
	return s
}

// list reads a claim that is an array of strings or one string with spaces.
func (t *unverified) list(claim string) []string {
	var raw any
	if err := t.claims.Get(claim, &raw); err != nil {
		return nil
	}
	switch raw := raw.(type) {
	case string:
		return strings.Fields(raw)
	case []any:
		var out []string
		for _, item := range raw {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// policy is the B2C policy that made the token: tfp, in older tenants acr.
func (t *unverified) policy() string {
	if tfp := t.string("tfp"); tfp != "" {
		return strings.ToLower(tfp)
	}
	return strings.ToLower(t.string("acr"))
}

// client is the application that asked for the token: azp in Entra's version 2, appid in version 1, client_id in
// RFC 9068.
func (t *unverified) client() string {
	for _, claim := range []string{"azp", "appid", "client_id"} {
		if s := t.string(claim); s != "" {
			return s
		}
	}
	return ""
}

// appOnly tells an application's token from a user's, and refuses what is no access token at all. An ID token is signed
// by the same key, and where one app registration is client and API its audience is the same too: what an access token
// says and an ID token never does is the only difference.
func (t *unverified) appOnly(kind string) (bool, error) {
	for _, claim := range []string{"at_hash", "c_hash", "s_hash", "events"} { // of ID tokens; of logout and event tokens
		if t.claims.Has(claim) {
			return false, fmt.Errorf("%w: not an access token: it has the claim %s", ErrInvalidToken, claim)
		}
	}
	if t.claims.Has("cnf") { // whoever sends such a token without its proof may have stolen it
		return false, fmt.Errorf("%w: it is bound to a key, and proofs of that are not looked at here", ErrInvalidToken)
	}
	switch typ := strings.ToLower(t.string("typ")); typ { // Keycloak writes the kind there
	case "", "bearer", "jwt", "at+jwt":
	default:
		return false, fmt.Errorf("%w: not an access token: its claim typ says so", ErrInvalidToken)
	}
	if kind == KindOpenID {
		scoped := t.claims.Has("scp") || t.claims.Has("scope")
		if !scoped && t.typ != "at+jwt" && !t.claims.Has("client_id") {
			return false, fmt.Errorf("%w: not an access token: it has no scope, no client_id, and its typ is not at+jwt", ErrInvalidToken)
		}
		return !scoped, nil
	}
	idtyp, delegated := t.string("idtyp"), t.claims.Has("scp")
	if delegated {
		if idtyp == "app" {
			return false, fmt.Errorf("%w: it has scopes and says that it is an application's", ErrInvalidToken)
		}
		return false, nil
	}
	if idtyp == "app" || idtyp == "" && t.client() != "" && t.provedClient() {
		return true, nil
	}
	return false, fmt.Errorf("%w: not an access token: neither scopes nor an application", ErrInvalidToken)
}

// provedClient tells whether the token's client showed a secret (1) or a certificate (2): no public client gets a token
// without a user.
func (t *unverified) provedClient() bool {
	for _, claim := range []string{"azpacr", "appidacr"} {
		if s := t.string(claim); s == "1" || s == "2" {
			return true
		}
	}
	return false
}
