package host

import (
	"strings"
	"unicode/utf8"
)

// decodePath reads a request's path as the real host's server does: percent escapes are decoded, except %2F, those
// that are broken and those that are not UTF-8; then dot segments go. Slashes are never merged.
func decodePath(raw string) string {
	path := raw
	if strings.IndexByte(raw, '%') >= 0 {
		path = unescape(raw)
	}
	if strings.Contains(path, "/.") {
		path = removeDots(path)
	}
	return path
}

func unescape(raw string) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '%' {
			out = append(out, raw[i])
			i++
			continue
		}
		decoded, length := character(raw[i:])
		if length == 0 {
			out = append(out, '%')
			i++
			continue
		}
		out = append(out, decoded...)
		i += length
	}
	return string(out)
}

// character decodes the escapes at the start of text that make up one UTF-8 character, and tells how long they were;
// nothing when there is none to decode.
func character(text string) (decoded []byte, length int) {
	for len(text[length:]) >= 3 && text[length] == '%' && len(decoded) < utf8.UTFMax {
		high, low := hex(text[length+1]), hex(text[length+2])
		if high < 0 || low < 0 {
			return nil, 0
		}
		decoded = append(decoded, byte(high<<4|low)) //nolint:gosec // two hex digits are one byte
		length += 3
		if decoded[0] == '/' || decoded[0] == 0 {
			return nil, 0
		}
		if utf8.FullRune(decoded) {
			if r, _ := utf8.DecodeRune(decoded); r == utf8.RuneError && len(decoded) < 3 {
				return nil, 0
			}
			return decoded, length
		}
	}
	return nil, 0
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func removeDots(path string) string {
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".", "..":
			if segment == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// encodePath writes a decoded path as the real host's proxy does: everything but what a path may hold plainly is
// escaped, the percent sign too. So an escape that decodePath left alone arrives escaped twice: %2F as %252F.
func encodePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if plainInPath[path[i]] {
			if b.Len() > 0 {
				b.WriteByte(path[i])
			}
			continue
		}
		if b.Len() == 0 {
			b.Grow(len(path) + 8)
			b.WriteString(path[:i])
		}
		const digits = "0123456789ABCDEF"
		b.Write([]byte{'%', digits[path[i]>>4], digits[path[i]&15]})
	}
	if b.Len() == 0 {
		return path
	}
	return b.String()
}

var plainInPath = func() (set [256]bool) {
	for _, c := range []byte("!$&'()*+,-./0123456789:;=@_~") {
		set[c] = true
	}
	for c := byte('a'); c <= 'z'; c++ {
		set[c], set[c-'a'+'A'] = true, true
	}
	return set
}()

var bracesEscaped = strings.NewReplacer("{", "%7B", "}", "%7D")

// encodeQuery leaves a query as the client wrote it, but for braces.
func encodeQuery(raw string) string {
	if strings.ContainsAny(raw, "{}") {
		return bracesEscaped.Replace(raw)
	}
	return raw
}
