package graphql

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

// The types of nodes. An id is base64 of "Order:" and the UUID, as Relay's own servers make them: opaque to clients, and
// no two types share one.
const (
	productNode = "Product"
	orderNode   = "Order"
	cartNode    = "Cart"
)

// appendNodeID appends the id of an object, without quotes.
func appendNodeID(out []byte, of string, id uuid.UUID) []byte {
	var plain [64]byte
	text := append(append(plain[:0], of...), ':')
	n := len(text)
	text = text[:n+36]
	hex.Encode(text[n:], id[:4])
	text[n+8] = '-'
	hex.Encode(text[n+9:], id[4:6])
	text[n+13] = '-'
	hex.Encode(text[n+14:], id[6:8])
	text[n+18] = '-'
	hex.Encode(text[n+19:], id[8:10])
	text[n+23] = '-'
	hex.Encode(text[n+24:], id[10:])
	return base64.StdEncoding.AppendEncode(out, text)
}

// parseNodeID reads an id.
func parseNodeID(s string) (of string, id uuid.UUID, err error) {
	if len(s) > 100 {
		return "", uuid.Nil, badID(s)
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		if raw, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "=")); err != nil {
			return "", uuid.Nil, badID(s)
		}
	}
	of, text, _ := strings.Cut(string(raw), ":")
	if len(text) != 36 {
		return "", uuid.Nil, badID(s)
	}
	if id, err = uuid.Parse(text); err != nil {
		return "", uuid.Nil, badID(s)
	}
	switch of {
	case productNode, orderNode, cartNode:
		return of, id, nil
	}
	return "", uuid.Nil, badID(s)
}

// parseID reads the id of an object of one type, or its plain UUID, as REST has it.
func parseID(want, s string) (uuid.UUID, error) {
	if len(s) == 36 {
		if id, err := uuid.Parse(s); err == nil {
			return id, nil
		}
	}
	of, id, err := parseNodeID(s)
	if err == nil && of != want {
		return uuid.Nil, badInput("The id is that of a %s, not of a %s.", of, want)
	}
	return id, err
}

func badID(s string) *engine.Error {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return badInput("%q is not an id: send one that the service gave you.", s)
}
