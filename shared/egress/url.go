package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL is more than any endpoint needs, and less than proxies cut off.
const maxURL = 2048

// CheckURL says what stands in the way of ever delivering to a URL: what is wrong, where, and how to mend it. It
// asks no DNS: where a name leads is decided at each attempt.
func (c *Client) CheckURL(raw string) error {
	_, err := c.parse(raw)
	return err
}

func badURL(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadURL}, args...)...)
}

// parse reads a URL so strictly that no other reader of it can see another host.
func (c *Client) parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, badURL("it has %d characters; use at most %d", len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return nil, badURL("it can't be parsed; write it as https://host/path")
	}
	if u.User != nil {
		return nil, badURL("it has a user name before the host; leave it out: every delivery is signed instead")
	}
	if u.Fragment != "" || strings.Contains(raw, "#") {
		return nil, badURL("it has a fragment (#), which is never sent; leave it out, or put it into the query")
	}
	// Before any change: ToLower makes an ASCII k of the Kelvin sign.
	if strings.ContainsFunc(u.Host, func(c rune) bool { return c > '~' }) {
		return nil, badURL("its host %q has letters beyond ASCII; write it in its xn-- form (Punycode)", u.Host)
	}
	u.Host = strings.ToLower(u.Host) // one host, one pool of connections
	local, err := c.checkHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, badURL("its scheme is %s; use https", u.Scheme)
	}
	return u, c.checkPort(u, local)
}

// checkPort refuses what is no web server: a POST to a mail or Redis port is read as commands there.
func (c *Client) checkPort(u *url.URL, local bool) error {
	text := u.Port()
	if text == "" && !strings.HasSuffix(u.Host, ":") && (u.Scheme == "http" || slices.Contains(c.options.Ports, 443)) {
		return nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	known := err == nil && (local && port > 0 || slices.Contains(c.options.Ports, int(port)))
	if !known || strconv.FormatUint(port, 10) != text {
		return badURL("its port is %q; use one of %v", text, c.options.Ports)
	}
	return nil
}

// checkHost takes public names and public addresses in their one usual form, and this machine where it is allowed.
// Hosts of other forms (2130706433, 0x7f.1, 017700000001, ①②⑦.⓪.⓪.①) aren't converted but refused: another
// program on the way may convert them differently.
func (c *Client) checkHost(host string) (local bool, err error) {
	if c.options.AllowLoopback && host == "localhost" {
		return true, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return c.checkAddress(a)
	}
	labels := strings.Split(host, ".")
	if len(host) > 253 || slices.ContainsFunc(labels, func(l string) bool { return !validLabel(l) }) {
		return false, badURL("its host %q is no host name; use letters, digits, hyphens and dots, with no dot at the end", host)
	}
	last := labels[len(labels)-1]
	if len(labels) == 1 || slices.Contains([]string{"localhost", "local", "localdomain", "internal", "arpa"}, last) {
		return false, badURL("its host %q is a name of an inner network; use one that the public DNS knows", host)
	}
	if last[0] >= '0' && last[0] <= '9' { // no top-level domain begins so; 1.2.3.0x4 and 1.2.772 are addresses to some
		return false, badURL("its host %q is no host name and no IPv4 address; write an address as four decimal numbers without leading zeros", host)
	}
	return false, nil
}

func (c *Client) checkAddress(a netip.Addr) (local bool, err error) {
	if a.Is4In6() || a.Zone() != "" {
		return false, badURL("its host is %s; write an IPv4 address as four numbers, and no zone", a)
	}
	if c.options.AllowLoopback && a.IsLoopback() {
		return true, nil
	}
	if !public(a) {
		return false, badURL("its host is %s, which is not on the public internet; use a host that anybody can reach", a)
	}
	return false, nil
}

func validLabel(l string) bool {
	return l != "" && len(l) <= 63 && l[0] != '-' && l[len(l)-1] != '-' &&
		!strings.ContainsFunc(l, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' })
}
