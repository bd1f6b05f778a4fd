"""The studies, a file each: its module ends with ``STUDY``, an instance of its `Study`."""
