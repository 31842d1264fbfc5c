package graphql

import (
	"net/http"
	"strconv"
	"strings"
)

const (
	mediaGraphQL = "application/graphql-response+json; charset=utf-8"
	mediaJSON    = "application/json; charset=utf-8"
	mediaHTML    = "text/html; charset=utf-8"
)

// accepted is which form the client wants most: one of the media types above, "" for none that there is. Who says
// nothing, or takes anything, gets the form of the profile.
func accepted(header http.Header, html bool, profile Status) string {
	values := header.Values("Accept")
	ranges := strings.Join(values, ",")
	if len(values) == 0 {
		ranges = "*/*"
	}
	best, weight := "", 0.0
	if profile == StatusLegacy && quality(ranges, "application/json") > 0 && !strings.Contains(strings.ToLower(ranges), "graphql-response") {
		best, weight = mediaJSON, quality(ranges, "application/json")
	}
	for _, offer := range []struct {
		media, kind string
		there       bool
	}{{mediaGraphQL, "application/graphql-response+json", true}, {mediaJSON, "application/json", true}, {mediaHTML, "text/html", html}} {
		if q := quality(ranges, offer.kind); offer.there && q > weight {
			best, weight = offer.media, q
		}
	}
	return best
}

// quality is the weight of a media type: the most precise range counts (RFC 9110, section 12.5.1).
func quality(ranges, kind string) (weight float64) {
	major, _, _ := strings.Cut(kind, "/")
	precision := -1
	for part := range strings.SplitSeq(ranges, ",") {
		name, params, _ := strings.Cut(part, ";")
		at := -1
		switch strings.ToLower(strings.TrimSpace(name)) {
		case kind:
			at = 2
		case major + "/*":
			at = 1
		case "*/*":
			at = 0
		}
		if at <= precision {
			continue
		}
		precision, weight = at, 1
		for param := range strings.SplitSeq(params, ";") {
			if value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(param)), "q="); ok {
				if q, err := strconv.ParseFloat(value, 64); err == nil {
					weight = q
				}
			}
		}
	}
	return weight
}
