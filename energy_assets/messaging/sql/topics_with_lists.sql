SELECT DISTINCT topic FROM temp.incoming_messages WHERE contains(payload, '[') AND topic IS NOT NULL
