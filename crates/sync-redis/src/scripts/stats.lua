return {'ok', meta}
