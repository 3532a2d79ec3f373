"""What a data set is called in reports."""


def data_name(source: str, origin: str) -> str:
    """The name of a data set.

    A published data set is known by its source, such as ``grocery_store``. Of any other, the source
    is only the layout, such as ``folder``, and the origin is the name: that of the folder or file,
    if ``prepare`` has no other.

    Args:
        source: Name of the data source.
        origin: URL or other description of the images' source.
    """
    return source if "://" in origin else origin or source
