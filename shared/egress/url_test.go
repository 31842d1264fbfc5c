package egress

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWH08URLs: what can't work is said at registration, with what is wrong, where, and how to mend it.
func TestWH08URLs(t *testing.T) {
	t.Parallel()
	c := New(Options{})
	for says, urls := range map[string][]string{
		"write it as https://host/path": {
			"", "shop", "/hook", "https:", "https://", "https:///hook", "https:hook.example.com", "://x", "https://a b.example.com/",
			"https://hook.example.com:port/", "https://%31%32%37.0.0.1/", `https://hook.example.com\@10.0.0.1/`, "https://[::1", "https://hook.example.com/\n",
			" https://hook.example.com/",
		},
		"use https":                        {"http://hook.example.com/", "ftp://hook.example.com/", "file://hook.example.com/etc/passwd", "gopher://hook.example.com/_", "HTTP://hook.example.com"},
		"every delivery is signed instead": {"https://ada@hook.example.com/", "https://ada:secret@hook.example.com/", "https://@hook.example.com/", "https://hook.example.com@10.0.0.1/"},
		"leave it out, or put":             {"https://hook.example.com/#x", "https://hook.example.com/#"},
		"use one of [443 8443]": {
			"https://hook.example.com:80/", "https://hook.example.com:22/", "https://hook.example.com:6379/", "https://hook.example.com:0/",
			"https://hook.example.com:65979/", "https://hook.example.com:/", "https://hook.example.com:0443/",
		},
		"xn-- form": {"https://bücher.example.com/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://hoo\u212a.example.com/", "https://%e2%91%a0.example.com/", "https://a\u00adb.example.com/"},
		"is no host name;": {
			"https://hook.example.com./", "https://127.0.0.1./", "https://hook..example.com/", "https://.example.com/", "https://-hook.example.com/",
			"https://hook-.example.com/", "https://hook_1.example.com/", "https://*.example.com/", "https://hook.example.com,evil.com/",
			"https://" + strings.Repeat("a", 64) + ".com/", "https://" + strings.Repeat("a.", 127) + "com/",
		},
		"inner network": {
			"https://localhost/", "https://LOCALHOST/", "https://db.localhost/", "https://intranet/", "https://printer.local/", "https://2130706433x/",
			"https://metadata.google.internal/", "https://10.in-addr.arpa/", "https://localhost.localdomain/", "https://0x7f000001/", "https://2130706433/", "https://017700000001/",
		},
		"four decimal numbers": {
			"https://127.1/", "https://127.0.1/", "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://0x7f.0.0.0x1/", "https://127.0.0.01/",
			"https://256.0.0.1/", "https://1.2.3.4.5/", "https://hook.example.0x7f/", "https://hook.example.1/",
		},
		"not on the public internet": {
			"https://127.0.0.1/", "https://10.0.0.1:8443/", "https://169.254.169.254/latest/meta-data/", "https://168.63.129.16/", "https://0.0.0.0/",
			"https://[::1]/", "https://[::]/", "https://[fd00:ec2::254]/", "https://[64:ff9b::a00:1]/", "https://[2002:7f00:1::]/", "https://[fe80::1]/",
		},
		"and no zone":      {"https://[::ffff:10.0.0.1]/", "https://[::ffff:8.8.8.8]/", "https://[fe80::1%25eth0]/", "https://[2606:4700::1111%25x]/"},
		"use at most 2048": {"https://hook.example.com/" + strings.Repeat("p", 2048)},
	} {
		for _, u := range urls {
			err := c.CheckURL(u)
			if assert.ErrorIs(t, err, ErrBadURL, u) {
				assert.ErrorContains(t, err, says, u)
			}
			_, err = post(t, c, u)
			assert.ErrorIs(t, err, ErrBadURL, "an attempt checks again: the rule may be younger than the row")
		}
	}
	for _, u := range []string{
		"https://hook.example.com", "https://hook.example.com/a/b?c=d&e=%20", "https://hook.example.com:443/", "https://hook.example.com:8443/",
		"HTTPS://Hook.Example.COM/Path", "https://xn--bcher-kva.example.com/", "https://8.8.8.8/", "https://[2606:4700::1111]:8443/", "https://1a.2b.3c.example.com/",
		"https://1.2.3.4.example.com/", "https://a.b/", "https://hook.example.com/10.0.0.1?u=http://127.0.0.1",
	} {
		assert.NoError(t, c.CheckURL(u), u)
	}
	assert.ErrorContains(t, New(Options{Ports: []int{8443}}).CheckURL("https://hook.example.com/"), "use one of [8443]", "443 is a port like others")
}

func TestOneHostOnePool(t *testing.T) {
	t.Parallel()
	u, err := New(Options{}).parse("https://HOOK.example.com/Path")
	require.NoError(t, err)
	assert.Equal(t, "https://hook.example.com/Path", u.String(), "spellings of one host would each have connections of their own")
}

// FuzzCheckURL: whatever passes is https to a public name or a public address in its usual form, however it is read.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://hook.example.com/", "https://[::ffff:1.2.3.4]:8443/", "https://0x7f.1/", "https://a@b/", "http://localhost:80/",
		"https://127.0.0.1.", "https://%6c.example.com", "https://\u212a.com",
	} {
		f.Add(seed)
	}
	c := New(Options{})
	usual := regexp.MustCompile(`^(?i)https://([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*|\d+\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\])(?::(?:443|8443))?(?:[/?][^#]*)?$`)
	f.Fuzz(func(t *testing.T, raw string) {
		if c.CheckURL(raw) != nil {
			return
		}
		found := usual.FindStringSubmatch(raw)
		require.NotNil(t, found, raw)
		u, err := url.Parse(raw)
		require.NoError(t, err)
		assert.Equal(t, strings.Trim(found[1], "[]"), u.Hostname(), "two readers see two hosts")
		if a, err := netip.ParseAddr(u.Hostname()); err == nil {
			assert.True(t, public(a), raw)
		}
	})
}
