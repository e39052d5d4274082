-- Returns the consumers whose lease has run out.
return call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. now())
