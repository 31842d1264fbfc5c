package servicebus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// response answers a request to $cbs or to an entity's $management.
type response struct {
	status      int
	description string
	condition   string
	body        map[string]any
}

func refusal(status int, err error) response {
	e := toWire(err)
	return response{status: status, condition: e.condition, description: e.description}
}

// request takes a message sent to a request node, confirms it, and sends the reply to whom it names.
func (l *link) request(raw []byte, confirm func(error)) error {
	m, err := parseMessage(raw)
	if err != nil {
		confirm(err)
		return nil
	}
	v, _, err := amqp.Decode(m.body)
	if err != nil {
		confirm(err)
		return nil
	}
	confirm(nil)
	section, _ := v.(amqp.Described)
	operation, _ := amqp.Lookup(m.applicationMap(), "operation")
	properties := m.propertyList()
	reply := func(r response) { l.session.conn.reply(l.node, properties, r) }
	if l.node == nodeCBS {
		reply(l.session.conn.putToken(amqp.String(operation), m.applicationMap(), section.Value))
		return nil
	}
	return l.entity.manage(l.session.conn, amqp.String(operation), section.Value, reply)
}

// reply sends a response on the connection's receiver that the request names: Go's client gives the link's target
// address, JavaScript's the link's name.
func (c *conn) reply(from node, request []any, r response) {
	status := int32(r.status) //nolint:gosec // an HTTP status; clients assert the type
	entries := map[any]any{
		"statusCode": status, "status-code": status,
		"statusDescription": r.description, "status-description": r.description,
	}
	if r.condition != "" {
		entries["errorCondition"] = amqp.Symbol(r.condition)
	}
	var value any
	if r.body != nil {
		value = r.body
	}
	b := amqp.Performative(sectionProperties, nil, nil, nil, nil, nil, amqp.At(request, propMessageID)) // as correlation-id
	b = amqp.Append(b, amqp.Described{Code: uint64(sectionApplication), Value: entries})
	b = amqp.Append(b, amqp.Described{Code: uint64(sectionValue), Value: value})
	to := amqp.String(amqp.At(request, propReplyTo))
	for _, s := range c.sessions {
		for _, l := range s.links {
			if !l.fromClient && l.node == from && (l.replyTo == to || l.name == to) {
				if len(l.replies) < maxReplies { // more than any client leaves unread
					l.replies = append(l.replies, b)
				}
				l.resume()
				return
			}
		}
	}
}

// claim is what a connection may do with an entity, until when.
type claim struct {
	until        time.Time
	send, listen bool
}

// putToken takes a token for an entity.
func (c *conn) putToken(operation string, entries map[any]any, token any) response {
	if operation != "put-token" {
		return refusal(http.StatusBadRequest, &wireError{condNotImplemented, "There is no operation " + operation + "."})
	}
	audience, _ := amqp.Lookup(entries, "name")
	u, err := url.Parse(amqp.String(audience))
	if err != nil {
		return refusal(http.StatusBadRequest, &wireError{condInvalidField, "The audience is no URL."})
	}
	path := key(u.Path)
	name, _ := strings.CutSuffix(path, "/$management")
	if c.broker.entities[name] == nil {
		return refusal(http.StatusNotFound, &wireError{condNotFound, "There is no messaging entity '" + u.Path + "'."})
	}
	granted, err := c.broker.verify(amqp.String(token))
	if err != nil {
		return refusal(http.StatusUnauthorized, err)
	}
	c.claims[path] = granted
	return response{status: http.StatusAccepted, description: "Accepted"}
}

// verify checks a shared access signature: the HMAC of its resource, taken as it was sent, and its expiry.
func (b *Broker) verify(token string) (claim, error) {
	if len(b.options.Keys) == 0 {
		return claim{until: b.now().Add(24 * time.Hour), send: true, listen: true}, nil
	}
	parts := map[string]string{}
	text, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		parts[name] = value
	}
	k, known := b.options.Keys[parts["skn"]]
	mac := hmac.New(sha256.New, []byte(k.Value))
	mac.Write([]byte(parts["sr"] + "\n" + parts["se"]))
	unescaped, err := url.QueryUnescape(parts["sig"])
	given, decoding := base64.StdEncoding.DecodeString(unescaped)
	if !ok || !known || err != nil || decoding != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return claim{}, &wireError{condUnauthorized, "InvalidSignature: The token has an invalid signature."}
	}
	seconds, err := strconv.ParseInt(parts["se"], 10, 64)
	until := time.Unix(seconds, 0)
	if err != nil || !until.After(b.now()) {
		return claim{}, &wireError{condUnauthorized, "ExpiredToken: The token is expired."}
	}
	return claim{until: until, send: k.Send, listen: k.Listen}, nil
}

// authorize says whether the connection may attach to a path.
func (c *conn) authorize(path string, send, listen bool) error {
	granted, ok := c.claims[path]
	if ok && granted.until.After(c.broker.now()) && (granted.send || !send) && (granted.listen || !listen) {
		return nil
	}
	need := "Listen"
	if send {
		need = "Send"
	}
	return &wireError{condUnauthorized, "Unauthorized access. '" + need + "' claim(s) are required to perform this operation. Resource: '" + path + "'."}
}
