package egress

import "net/netip"

// What is not the public internet, after the IANA registries of special-purpose addresses for IPv4 and IPv6
// (RFC 6890 and what was added since), and the clouds' own: every platform's metadata service answers at
// 169.254.169.254, which is link-local, or at a name that leads there, and Azure's virtual public address
// 168.63.129.16 (DNS, health probes, the guest agent's key exchange) looks like anybody's.
var refused4 = prefixes(
	"0.0.0.0/8",        // this host: Linux connects 0.0.0.0 to loopback
	"10.0.0.0/8",       // private (RFC 1918)
	"100.64.0.0/10",    // carrier-grade NAT (RFC 6598); Azure's and Alibaba's inner services
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // Azure
	"169.254.0.0/16",   // link-local, metadata services
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // IETF protocol assignments; Oracle's metadata service
	"192.0.2.0/24",     // documentation
	"192.31.196.0/24",  // AS112
	"192.52.193.0/24",  // AMT
	"192.88.99.0/24",   // 6to4 relays, deprecated
	"192.168.0.0/16",   // private
	"192.175.48.0/24",  // AS112
	"198.18.0.0/15",    // benchmarking
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and 255.255.255.255
)

// global6 is all that IANA gives out as global unicast. What carries an IPv4 address or stays inside lies outside
// of it and is refused without a list: ::, ::1, ::ffff:0:0/96 (mapped), 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64),
// 100::/64 (discard), 5f00::/16, fc00::/7 (unique local; EC2's metadata service), fe80::/10, fec0::/10, ff00::/8.
// NAT64 is refused whatever it carries: a network that needs it for the public internet would have to check what
// is inside here, and ours doesn't.
var global6 = netip.MustParsePrefix("2000::/3")

var refused6 = prefixes(
	"2001::/23",         // IETF protocol assignments: Teredo (with an IPv4 address inside), benchmarking, ORCHID
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, with an IPv4 address inside
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// public says whether anybody on the internet reaches a, so that calling it gives nobody more than they had.
func public(a netip.Addr) bool {
	a = a.Unmap() // an IPv4 address inside of IPv6 is that IPv4 address to the kernel
	refused := refused6
	if a.Is4() {
		refused = refused4
	} else if !global6.Contains(a) { // nor does it contain any address with a zone
		return false
	}
	for _, p := range refused {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
