package forge

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// Attack is a token that must be refused.
type Attack struct {
	Name, Token string
	// Says is a part of the reason: who refuses it for another one does so by luck.
	Says string
}

// Attacks are tokens of a provider that a verifier must refuse (RFC 8725, section 2). All would be good but for the one
// thing that their name says.
func Attacks(p *Provider) []Attack {
	var list []Attack
	add := func(says, name, token string) { list = append(list, Attack{name, token, says}) }
	good := p.Token(nil, nil)
	parts := strings.Split(good, ".")
	claims, payload := p.Claims(nil), Text(p.Claims(nil))
	const rs256 = `{"alg":"RS256","kid":"rsa"}`
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }

	// The algorithm is the issuer's to choose.
	der := must(x509.MarshalPKIXPublicKey(&RSA().PublicKey))
	hs := Object{"alg": "HS256", "typ": "JWT", "kid": "rsa"}
	add("algorithm", "alg none", Mint(Object{"alg": "none", "kid": "rsa"}, claims, nil))
	add("algorithm", "alg None", Mint(Object{"alg": "None", "kid": "rsa"}, claims, nil))
	add("algorithm", "alg missing", Mint(Object{"kid": "rsa"}, claims, nil))
	add("algorithm", "alg that is a number", p.Token(Object{"alg": 7}, nil))
	add("algorithm", "alg in other letters", Sign(`{"ALG":"RS256","kid":"rsa"}`, payload))
	add("algorithm", "alg none, old signature", Base64([]byte(`{"alg":"none","kid":"rsa"}`))+"."+parts[1]+"."+parts[2])
	add("algorithm", "HS256 with the public PEM", MAC(hs, claims, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	add("algorithm", "HS256 with the public DER", MAC(hs, claims, der))
	add("algorithm", "HS256 with the modulus", MAC(hs, claims, RSA().N.Bytes()))
	add("algorithm", "HS256 with the JWK", MAC(hs, claims, []byte(Text(RSAKey("rsa", RSA())))))
	add("algorithm", "RS512, which is not listed", Mint(Object{"alg": "RS512", "kid": "rsa"}, claims, RSA()))
	add("unknown key", "ES256 said of an RSA key", Mint(Object{"alg": "ES256", "kid": "rsa"}, claims, nil))
	add("unknown key", "RS256 said of an EC key", Mint(Object{"alg": "RS256", "kid": "ec"}, claims, RSA()))

	// So is the key.
	add("signature", "a stranger's key", Mint(Object{"alg": "RS256", "kid": "rsa"}, claims, Stranger()))
	add("header jwk", "a stranger's key, sent along", Mint(Object{"alg": "RS256", "kid": "rsa", "jwk": RSAKey("rsa", Stranger())}, claims, Stranger()))
	add("header jwk", "jwk, though unused", p.Token(Object{"jwk": RSAKey("rsa", RSA())}, nil))
	add("header jku", "jku", p.Token(Object{"jku": p.URL + "/keys"}, nil))
	add("header x5u", "x5u", p.Token(Object{"x5u": p.URL + "/keys"}, nil))
	add("header x5c", "x5c", p.Token(Object{"x5c": []string{"MIIB"}}, nil))
	for n := range 20 {
		add("unknown key", fmt.Sprint("a key id that nobody knows, ", n), p.Token(Object{"kid": fmt.Sprint("spray-", n)}, nil))
	}
	add("unknown key", "a key id with a path", p.Token(Object{"kid": "../../etc/passwd"}, nil))
	add("no key id", "no key id", p.Token(Object{"kid": nil}, nil))
	add("no key id", "an empty key id", p.Token(Object{"kid": ""}, nil))
	add("no key id", "a key id that is a number", p.Token(Object{"kid": 7}, nil))
	add("no key id", "a key id of a kilobyte", p.Token(Object{"kid": strings.Repeat("k", 1<<10)}, nil))

	// One token, one reading.
	add("header crit", "crit", p.Token(Object{"crit": []string{"exp"}, "exp": 1}, nil))
	add("header b64", "b64", p.Token(Object{"b64": true}, nil))
	add("header cty", "a token inside of the token", p.Token(Object{"cty": "JWT"}, nil))
	add("header zip", "zip", p.Token(Object{"zip": "DEF"}, nil))
	add("member twice", "alg twice", Sign(`{"alg":"none","kid":"rsa","alg":"RS256"}`, payload))
	add("member twice", "kid twice", Sign(`{"alg":"RS256","kid":"x","kid":"rsa"}`, payload))
	add("member twice", "sub twice", Sign(rs256, `{"sub":"admin",`+payload[1:]))
	add("member twice", "a member twice, inside", Sign(rs256, Text(p.Claims(Object{"x": json.RawMessage(`[{"a":{"b":1,"b":2}}]`)}))))
	add("after its end", "two payloads", Sign(rs256, payload+payload))
	add("not a JSON object", "a payload that is a token", Sign(rs256, good))
	add("not a JSON object", "a payload that is a list", Sign(rs256, "["+payload+"]"))
	add("is not JSON", "a payload without an end", Sign(rs256, strings.TrimSuffix(payload, "}")))
	add("base64url", "padded", parts[0]+"=."+parts[1]+"."+parts[2])
	add("base64url", "loose last bits", parts[0]+"."+parts[1]+"."+loose(parts[2]))
	add("signature", "another payload", parts[0]+"."+Base64([]byte(strings.Replace(payload, "customer-1", "customer-2", 1)))+"."+parts[2])
	add("signature", "no signature", parts[0]+"."+parts[1]+".")
	add("not a signed JWT", "no part for a signature", parts[0]+"."+parts[1])
	add("not a signed JWT", "five parts, as encrypted ones have", good+".a.b")
	add("not a signed JWT", "JSON serialization", `{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","signature":"`+parts[2]+`"}`)
	add("not a signed JWT", "no token at all", "abc")
	add("longer than", "nine kilobytes", p.Token(nil, Object{"pad": strings.Repeat("x", 7<<10)}))

	// Another kind of token.
	for _, typ := range []any{"logout+jwt", "dpop+jwt", "secevent+jwt", "JWS", "", 7} {
		add("typ is not", fmt.Sprintf("typ %v", typ), p.Token(Object{"typ": typ}, nil))
	}
	id := Object{"scp": nil, "nonce": "n", "auth_time": 1, "azp": "web"}
	add("not an access token", "an ID token", p.Token(nil, id))
	add("not an access token", "an ID token with roles", p.Token(nil, With(id, Object{"roles": []string{"admin", "order:write"}})))
	add("not an access token", "an ID token that names a scope", p.Token(nil, Object{"at_hash": "x"}))
	add("not an access token", "with the hash of a code", p.Token(Object{"typ": "at+jwt"}, Object{"c_hash": "x"}))
	add("not an access token", "a logout token", p.Token(nil, Object{"events": Object{"http://schemas.openid.net/event/backchannel-logout": Object{}}}))
	add("not an access token", "Keycloak's ID token", p.Token(nil, Object{"typ": "ID"}))
	add("not an access token", "Keycloak's refresh token", p.Token(nil, Object{"typ": "Refresh"}))
	add("bound to a key", "DPoP-bound, without its proof", p.Token(nil, Object{"cnf": Object{"jkt": "x"}}))

	// For others, from others, or not now.
	for _, iss := range []any{p.URL + "/", strings.ToUpper(p.URL), p.URL + ".evil.example", "https://evil.example", "", nil} {
		add("wrong issuer", fmt.Sprint("iss ", iss), p.Token(nil, Object{"iss": iss}))
	}
	for _, aud := range []any{"other", Audience + "/x", Audience[:len(Audience)-1], "x " + Audience, []string{}, "", nil} {
		add("wrong audience", fmt.Sprint("aud ", aud), p.Token(nil, Object{"aud": aud}))
	}
	add("expired", "expired", p.Token(nil, Object{"exp": in(-90 * time.Second)}))
	add("exp is missing", "without an end", p.Token(nil, Object{"exp": nil}))
	add("not of its type", "an end that is no time", p.Token(nil, Object{"exp": "tomorrow"}))
	add("not valid yet", "not valid yet", p.Token(nil, Object{"nbf": in(90 * time.Second)}))
	add("times are wrong", "issued in the future", p.Token(nil, Object{"iat": in(90 * time.Second)}))
	add("claim sub", "nobody's", p.Token(nil, Object{"sub": nil, "email": "ada@example.com", "preferred_username": "ada"}))
	add("control characters", "a subject with a line break", p.Token(nil, Object{"sub": "a\nb"}))
	return list
}
