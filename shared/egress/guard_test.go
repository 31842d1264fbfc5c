package egress

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inside are addresses that no endpoint may lead to (WH-08), by what they are.
var inside = map[string][]string{
	"this host":             {"0.0.0.0", "0.1.2.3"},
	"private":               {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"},
	"carrier-grade NAT":     {"100.64.0.1", "100.100.100.200", "100.127.255.255"},
	"loopback":              {"127.0.0.1", "127.255.255.254", "::1"},
	"link-local":            {"169.254.0.1", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1", "2606:4700::1111%eth0"},
	"metadata":              {"169.254.169.254", "192.0.0.192", "fd00:ec2::254"},
	"Azure":                 {"168.63.129.16"},
	"documentation":         {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"},
	"benchmarking":          {"198.18.0.1", "198.19.255.255", "2001:2::1"},
	"protocol assignments":  {"192.0.0.1", "192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1", "2001:20::1"},
	"6to4":                  {"192.88.99.1", "2002:7f00:1::", "2002:808:808::1"},
	"multicast":             {"224.0.0.1", "239.255.255.255", "ff02::1"},
	"broadcast, reserved":   {"255.255.255.255", "240.0.0.1"},
	"unspecified":           {"::"},
	"unique local":          {"fc00::1", "fdff::1"},
	"site-local":            {"fec0::1"},
	"IPv4-mapped":           {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16"},
	"IPv4-compatible":       {"::127.0.0.1", "::10.0.0.1"},
	"IPv4-translated":       {"::ffff:0:10.0.0.1"},
	"NAT64":                 {"64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::169.254.169.254"},
	"Teredo":                {"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"},
	"discard, segment ids":  {"100::1", "5f00::1"},
	"never given to anyone": {"4000::1", "1::1"},
}

// outside are neighbours of the ranges above, and well-known servers.
var outside = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
	"192.167.255.255", "192.169.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
	"2606:4700:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2003::1", "3ffe::1", "::ffff:8.8.8.8",
}

// TestWH08Addresses asks the guard itself, as the dialer does, with the address it is about to connect to.
func TestWH08Addresses(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	guard := func(a string) error {
		return c.secure.dialer.ControlContext(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(a), 443).String(), nil)
	}
	for kind, addresses := range inside {
		for _, a := range addresses {
			assert.ErrorIs(t, guard(a), errRefused, "%s: %s", kind, a)
		}
	}
	for _, a := range outside {
		assert.NoError(t, guard(a), a)
	}
	assert.ErrorIs(t, c.secure.dialer.ControlContext(t.Context(), "unix", "/var/run/docker.sock", nil), errRefused)
}

// TestWH08Names: a name that leads inside is refused whatever it is called, before a packet is sent, in words
// that don't say where it leads.
func TestWH08Names(t *testing.T) {
	t.Parallel()
	answers := map[string][][]string{}
	for kind, addresses := range inside {
		for n, a := range addresses {
			if netip.MustParseAddr(a).Zone() == "" { // which no DNS answer can have
				answers[fmt.Sprintf("h%d.%x.example.com", n, kind)] = [][]string{{a}}
			}
		}
	}
	c := newClient(t, Options{Resolver: newNames(t, answers).resolver})
	passed := stopAtTheDoor(c.secure)
	for name, addresses := range answers {
		_, err := post(t, c, "https://"+name+"/")
		if assert.ErrorIs(t, err, ErrRefusedAddress, "%s", addresses) {
			failed(t, err, ErrRefusedAddress)
		}
	}
	assert.Empty(t, passed())

	_, err := post(t, c, "https://nowhere.example.com/")
	failed(t, err, ErrUnresolved)
	assert.Equal(t, ErrRefusedAddress.Error(), err.Error(), "the difference would tell which names our network knows")
}

// TestWH08Rebinding: the name is public when it is asked for first and leads inside afterwards. Each attempt asks
// once, and connects to what was checked.
func TestWH08Rebinding(t *testing.T) {
	t.Parallel()
	victim := serveTLS(t, func(http.ResponseWriter, *http.Request) {})
	const name = "rebind.example.com"
	dns := newNames(t, map[string][][]string{name: {{"8.8.8.8"}, {"127.0.0.1"}}})
	c := newClient(t, Options{Resolver: dns.resolver, Ports: []int{victim.port}, RootCAs: victim.roots()})
	passed := stopAtTheDoor(c.secure)
	to := "https://" + name + ":" + strconv.Itoa(victim.port) + "/"

	_, err := post(t, c, to)
	failed(t, err, ErrConnect)
	assert.Equal(t, []string{"8.8.8.8:" + strconv.Itoa(victim.port)}, passed())
	assert.Equal(t, 1, dns.count(name), "a second question could get a second answer")

	_, err = post(t, c, to)
	failed(t, err, ErrRefusedAddress)
	assert.Len(t, passed(), 1)
	assert.Zero(t, victim.hits.Load())
}

// TestWH08MixedAnswers: of several addresses of one name, only the public ones are ever connected to.
func TestWH08MixedAnswers(t *testing.T) {
	t.Parallel()
	dns := newNames(t, map[string][][]string{"mixed.example.com": {{"10.0.0.1", "127.0.0.1", "8.8.8.8", "fd00::1", "2606:4700::1111"}}})
	c := newClient(t, Options{Resolver: dns.resolver})
	passed := stopAtTheDoor(c.secure)
	_, err := post(t, c, "https://mixed.example.com/")
	require.Error(t, err)
	assert.NotEmpty(t, passed())
	assert.Subset(t, []string{"8.8.8.8:443", "[2606:4700::1111]:443"}, passed())
}

// TestWH08AllowLoopback: the local setting opens this machine, and nothing else of the inside.
func TestWH08AllowLoopback(t *testing.T) {
	t.Parallel()
	dns := newNames(t, map[string][][]string{
		"inner.example.com":  {{"10.0.0.1"}},
		"metadata.cloud.com": {{"169.254.169.254"}},
		"public.example.com": {{"8.8.8.8"}},
	})
	plain, secure := serve(t, answerOK), serveTLS(t, answerOK)
	c := newClient(t, Options{AllowLoopback: true, Resolver: dns.resolver, RootCAs: secure.roots()})
	for _, to := range []string{
		plain.URL, secure.URL, "http://localhost:" + strconv.Itoa(plain.port) + "/hook",
	} {
		result, err := post(t, c, to)
		require.NoError(t, err, to)
		assert.Equal(t, http.StatusOK, result.Status)
	}

	for _, to := range []string{"https://inner.example.com/", "https://metadata.cloud.com/"} {
		_, err := post(t, c, to)
		failed(t, err, ErrRefusedAddress)
	}
	for _, to := range []string{"http://public.example.com/", "http://8.8.8.8/", "https://10.0.0.1/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/"} {
		_, err := post(t, c, to)
		require.ErrorIs(t, err, ErrBadURL, to)
	}
	guard := c.plain.dialer.ControlContext
	require.NoError(t, guard(t.Context(), "tcp4", "127.0.0.1:80", nil))
	require.ErrorIs(t, guard(t.Context(), "tcp4", "8.8.8.8:80", nil), errRefused, "a localhost that leads out gets no plain http")
	passed := stopAtTheDoor(c.secure)
	_, err := post(t, c, "https://public.example.com/")
	failed(t, err, ErrConnect)
	assert.Equal(t, []string{"8.8.8.8:443"}, passed(), "endpoints of real customers can be called in a local run")

	strict := newClient(t, Options{})
	for _, to := range []string{plain.URL, secure.URL, "https://localhost/"} {
		_, err := post(t, strict, to)
		require.ErrorIs(t, err, ErrBadURL, to)
	}
	assert.EqualValues(t, 2, plain.hits.Load())
	assert.EqualValues(t, 1, secure.hits.Load())
}

// TestWH08NoProxy: the environment of this test names a proxy, which would dial what we refuse. The host has a
// name, as loopback addresses are never proxied.
func TestWH08NoProxy(t *testing.T) {
	t.Parallel()
	e := serveTLS(t, answerOK)
	dns := newNames(t, map[string][][]string{"example.com": {{"127.0.0.1"}}})
	c := newClient(t, Options{AllowLoopback: true, Resolver: dns.resolver, Ports: []int{e.port}, RootCAs: e.roots(), Timeout: 10 * time.Second})
	_, err := post(t, c, "https://example.com:"+strconv.Itoa(e.port)+"/")
	require.NoError(t, err)
	assert.EqualValues(t, 1, e.hits.Load())
	assert.Zero(t, trapped.Load(), "connections to the proxy of the environment")
}

// TestWH08NoRedirects: a redirect is the answer.
func TestWH08NoRedirects(t *testing.T) {
	t.Parallel()
	target := serve(t, answerOK)
	for _, status := range []int{301, 302, 303, 307, 308} {
		from := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, status) })
		result, err := post(t, newClient(t, Options{AllowLoopback: true}), from.URL)
		require.NoError(t, err)
		assert.Equal(t, status, result.Status)
	}
	assert.Zero(t, target.hits.Load())
}

func answerOK(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "thanks") }
