package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The kinds of issuers. They differ in what their tokens say where.
const (
	// KindOpenID is any OpenID provider.
	KindOpenID = "openid"
	// KindEntra is Microsoft Entra ID, its tokens of version 1 and 2, and Entra External ID.
	KindEntra = "entra"
	// KindB2C is Azure AD B2C, where each policy (user flow) signs with keys of its own under one iss.
	KindB2C = "b2c"
)

const (
	anyTenant = "{tenantid}" // in an issuer and its keys, as Entra's own documents write it
	anyPolicy = "{policy}"   // in the address of a B2C configuration document
)

// Issuer is one that tokens may come from. Its JSON is an item of the setting AUTH_ISSUERS.
type Issuer struct {
	// Alias is shown before its customers' names; one issuer may be without. Who a customer is depends on it: it must
	// not be changed, nor given to another issuer later.
	Alias string `json:"alias,omitempty"`
	// URL is the exact iss. Of Entra it may have {tenantid} in the tenant's place, for the tenants of Tenants.
	URL  string `json:"issuer"`
	Kind string `json:"kind,omitempty"` // "": told from the URL's host
	// Audiences are the values of aud that mean this service; one of a token's must be among them. Of Entra, the app
	// id and api:// with the app id stand for each other.
	Audiences  []string `json:"audiences"`
	Algorithms []string `json:"algorithms,omitempty"` // none: the usual ones of the kind
	// CustomerClaim names the customer; "": oid of Entra, sub of others.
	CustomerClaim string   `json:"customerClaim,omitempty"`
	Tenants       []string `json:"tenants,omitempty"`  // ids, where the URL has {tenantid}
	Policies      []string `json:"policies,omitempty"` // B2C: the policies whose tokens are accepted
	// Discovery is the address of the configuration document where it is not below the URL. Of B2C it has {policy}.
	Discovery string `json:"discovery,omitempty"`
}

// ParseIssuers reads a JSON array of issuers, strictly: a misspelt member would otherwise be a check left out.
func ParseIssuers(text string) ([]Issuer, error) {
	var list []Issuer
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, errors.New("is not a JSON array of issuers, or has a member that issuers don't have: " +
			`want [{"alias": "partner", "issuer": "https://...", "audiences": ["api://..."]}]`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("goes on after the end of its JSON array")
	}
	return list, nil
}

// CheckIssuers says all that is wrong with a set of issuers, each mistake with its place and how to mend it.
func CheckIssuers(list []Issuer) error {
	_, err := sources(list)
	return err
}

// source is an issuer as tokens are held against it: one tenant, one policy.
type source struct {
	Issuer
	iss    string
	name   string // Identity.Issuer of its customers
	tenant string // the tid that its tokens carry, "" when none must be
	policy string // the B2C policy, lower-case
	keys   *keySet
}

var (
	guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	// An alias is shorter than a tenant's id and has no slash, so no two issuers' names meet.
	aliasForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

	kindAlgorithms = map[string][]string{
		KindOpenID: {"RS256", "PS256", "ES256"},
		KindEntra:  {"RS256"},
		KindB2C:    {"RS256"},
	}
	knownAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	// Names that people choose or that change hands: whoever gets one would get the orders with it.
	mutableClaims = []string{"email", "upn", "preferred_username", "unique_name", "name", "given_name", "family_name", "nickname", "phone_number"}
)

// sources expands issuers into what single tokens are held against, or says everything that is wrong with them.
func sources(list []Issuer) ([]*source, error) {
	if len(list) == 0 {
		return nil, errors.New("there is no issuer: nobody could call")
	}
	var (
		out   []*source
		wrong []error
		seen  = map[string]int{}    // iss and policy: number of the issuer
		named = map[string]Issuer{} // alias: its first issuer
	)
	for n, issuer := range list {
		issuer = issuer.withDefaults()
		place := fmt.Sprintf("issuer %d", n+1)
		if issuer.Alias != "" && aliasForm.MatchString(issuer.Alias) {
			place += " (" + issuer.Alias + ")"
		}
		mistakes := issuer.mistakes()
		if first, ok := named[issuer.Alias]; ok && !samePeople(first, issuer) {
			mistakes = append(mistakes, "its alias is another issuer's too: only the v1 and v2 forms of one Entra tenant share one, and only one issuer may be without")
		} else if !ok {
			named[issuer.Alias] = issuer
		}
		if len(mistakes) == 0 {
			for _, s := range issuer.expand() {
				id := s.iss + " " + s.policy
				if other, ok := seen[id]; ok {
					mistakes = append(mistakes, fmt.Sprintf("issuer %d has tokens of the same iss, tenant and policy", other))
				}
				seen[id] = n + 1
				out = append(out, s)
			}
		}
		for _, m := range mistakes {
			wrong = append(wrong, fmt.Errorf("%s: %s", place, m))
		}
	}
	return out, errors.Join(wrong...)
}

// samePeople tells whether two issuers may share an alias: tokens of both name the same person by the same claim.
func samePeople(a, b Issuer) bool {
	return a.Kind == KindEntra && b.Kind == KindEntra && a.CustomerClaim == b.CustomerClaim && a.tenant() == b.tenant()
}

func (i Issuer) withDefaults() Issuer {
	if i.Kind == "" {
		i.Kind = kindOf(i.URL)
	}
	if i.CustomerClaim == "" {
		i.CustomerClaim = "sub"
		if i.Kind == KindEntra {
			i.CustomerClaim = "oid"
		}
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = kindAlgorithms[i.Kind]
	}
	if i.Kind == KindEntra {
		i.Audiences = bothForms(i.Audiences)
	}
	return i
}

// kindOf tells an issuer's kind from its host.
func kindOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return KindOpenID
	}
	host := strings.ToLower(u.Hostname())
	for _, entra := range []string{
		"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn",
		"sts.windows.net", "sts.microsoftonline.us", "sts.chinacloudapi.cn",
	} {
		if host == entra {
			return KindEntra
		}
	}
	switch {
	case strings.HasSuffix(host, ".ciamlogin.com"):
		return KindEntra
	case strings.HasSuffix(host, ".b2clogin.com"):
		return KindB2C
	}
	return KindOpenID
}

// bothForms adds to an app's id its api:// form and the other way round: which of them a token carries depends on its
// version. A name like api://shop says nothing of the id, so there both are listed.
func bothForms(audiences []string) []string {
	out := slices.Clone(audiences)
	for _, a := range audiences {
		id, isURI := strings.CutPrefix(a, "api://")
		if !guid.MatchString(id) {
			continue
		}
		if isURI {
			out = append(out, id)
		} else {
			out = append(out, "api://"+id)
		}
	}
	return out
}

// tenant is the first part of the URL's path: an id, {tenantid}, or something else that is neither.
func (i Issuer) tenant() string {
	_, rest, _ := strings.Cut(i.URL, "://")
	_, path, _ := strings.Cut(rest, "/")
	first, _, _ := strings.Cut(path, "/")
	return first
}

// mistakes says what is wrong with an issuer by itself.
func (i Issuer) mistakes() (wrong []string) {
	check := func(ok bool, text string) {
		if !ok {
			wrong = append(wrong, text)
		}
	}
	check(i.Alias == "" || aliasForm.MatchString(i.Alias), "alias must be 1 to 32 of a-z, 0-9 and -, and not start with -")
	_, known := kindAlgorithms[i.Kind]
	check(known, "kind must be openid, entra or b2c")
	check(len(i.Audiences) > 0 && !slices.Contains(i.Audiences, ""), "audiences must name at least one value of aud, and no empty one")
	for _, a := range i.Algorithms {
		check(slices.Contains(knownAlgorithms, a), "algorithms may hold "+strings.Join(knownAlgorithms, ", "))
	}
	wrong = append(wrong, i.addressMistakes()...)

	check(!slices.Contains(mutableClaims, i.CustomerClaim), "customerClaim is one that can change or be chosen: want sub, or oid of Entra")
	check(i.CustomerClaim != "oid" || i.Kind != KindOpenID, `customerClaim oid means something in tokens of Entra and B2C only: want sub, or "kind": "entra"`)

	check(i.Kind == KindB2C || len(i.Policies) == 0, "policies are for kind b2c")
	check(i.Kind != KindB2C || len(i.Policies) > 0, "a b2c issuer needs policies: the user flows whose tokens are accepted")
	check(i.Kind != KindB2C || strings.Contains(i.Discovery, anyPolicy),
		"a b2c issuer needs discovery with {policy}, as in https://shop.b2clogin.com/shop.onmicrosoft.com/{policy}/v2.0/.well-known/openid-configuration")
	templated := strings.Contains(i.URL, anyTenant)
	check(!templated || i.Kind == KindEntra && i.tenant() == anyTenant, "{tenantid} stands only in the tenant's place of an Entra issuer")
	check(templated || len(i.Tenants) == 0, "tenants are for an issuer with {tenantid}")
	check(!templated || len(i.Tenants) > 0, "an issuer with {tenantid} needs tenants: without a list anybody's tenant could sign in")
	for _, t := range i.Tenants {
		check(guid.MatchString(t), "tenants are ids in lower case, as in 72f988bf-86f1-41af-91ab-2d7cd011db47")
	}
	check(i.Kind != KindEntra || templated || guid.MatchString(i.tenant()),
		"an Entra issuer has the tenant's id in its path, as in https://login.microsoftonline.com/{tenant's id}/v2.0: common, organizations and domain names are never in an iss")
	return wrong
}

// addressMistakes says what is wrong with an issuer's addresses.
func (i Issuer) addressMistakes() (wrong []string) {
	for name, address := range map[string]string{"issuer": i.URL, "discovery": i.Discovery} {
		if address == "" && name == "discovery" {
			continue
		}
		u, err := url.Parse(address)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			wrong = append(wrong, name+" is not an https URL")
		case !safe(u):
			wrong = append(wrong, name+" is http, which is for issuers on this machine (localhost, 127.0.0.1, [::1]) only: want https")
		case u.User != nil || u.RawQuery != "" && name == "issuer" || u.Fragment != "":
			wrong = append(wrong, name+" has a user, a query or a fragment")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// safe tells whether what is read there can't be somebody else's on the way: https, or this machine.
func safe(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return u.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// expand makes the sources of an issuer without mistakes. Sources of one issuer that are discovered together share
// their keys.
func (i Issuer) expand() (out []*source) {
	discovery := i.Discovery
	if discovery == "" {
		discovery = strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
	}
	switch {
	case i.Kind == KindB2C:
		for _, policy := range i.Policies {
			s := &source{Issuer: i, iss: i.URL, name: i.Alias, policy: strings.ToLower(policy)}
			if t := i.tenant(); guid.MatchString(t) {
				s.tenant = t
			}
			s.keys = newKeySet(i.URL, strings.ReplaceAll(discovery, anyPolicy, url.PathEscape(policy)))
			out = append(out, s)
		}
	case len(i.Tenants) > 0:
		// The documents of these two serve all tenants, and write {tenantid} where the tenant's id goes.
		shared := "organizations"
		if strings.HasSuffix(strings.TrimSuffix(i.URL, "/"), anyTenant) { // version 1, which knows no organizations
			shared = "common"
		}
		keys := newKeySet(i.URL, strings.ReplaceAll(discovery, anyTenant, shared))
		for _, tenant := range i.Tenants {
			name := tenant
			if i.Alias != "" {
				name = i.Alias + "/" + tenant
			}
			out = append(out, &source{Issuer: i, iss: strings.ReplaceAll(i.URL, anyTenant, tenant), name: name, tenant: tenant, keys: keys})
		}
	default:
		s := &source{Issuer: i, iss: i.URL, name: i.Alias, keys: newKeySet(i.URL, discovery)}
		if i.Kind == KindEntra {
			s.tenant = i.tenant()
		}
		out = append(out, s)
	}
	return out
}
